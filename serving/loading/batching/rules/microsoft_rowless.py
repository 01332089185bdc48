"""onnxruntime's own operators without a rule, or for which none is possible."""

from __future__ import annotations

from serving.loading.batching.call import MICROSOFT, Call, rule, without_rule
from serving.loading.batching.values import Value

NHWC, NCHWC = "com.ms.internal.nhwc", "com.microsoft.nchwc"


@rule("Sampling", domain=MICROSOFT, pure=False)
def sampling(call: Call) -> Value:
    return call.mixed("it draws at random, which no batch repeats")


@rule("BifurcationDetector", "DynamicTimeWarping", domain=MICROSOFT)
def one_row_only(call: Call) -> Value:
    return call.never("it takes one row only")


def _unruled(why: str, *operators: str) -> None:
    without_rule(why, *operators, domain=MICROSOFT)


_unruled(
    "it searches for a text until the whole batch has ended",
    *("BeamSearch", "GreedySearch", "WhisperBeamSearch"),
)
_unruled(
    "it takes rows of different lengths packed one behind another",
    *(
        "GatedDeltaNet",
        "PackedAttention",
        "PackedMultiHeadAttention",
        "PackedSparseAttentionIndexer",
    ),
    *("PackedSparseAttentionIndexerMerge", "PagedAttention", "RemovePadding", "RestorePadding"),
    *("SparsePagedAttention", "VarlenCausalConvWithState", "VarlenNGramHashMapping"),
)
_unruled(
    "it belongs to a decoder that keeps its state between calls",
    *(
        "ConvStateReplay",
        "DecoderMaskedMultiHeadAttention",
        "DecoderMaskedSelfAttention",
        "DynamicSparseAttention",
        "Mamba2Verify",
    ),
    *("GatedDeltaNetStateReplay", "SparseAttention", "SparseAttentionIndexer"),
    "SpeculativePrefixCommit",
)
_unruled(
    "it runs on GPUs only, and no exporter writes it",
    *("BiasSoftmax", "DecoderAttention", "DequantizeWithOrder", "GemmFastGelu", "GemmFloat8"),
    *("GemmaRotaryEmbedding", "HyperConnectionLowRankMix", "LongformerAttention", "MoEPacked"),
    *("MatMulBlockQuantizedFp4Weight", "MatMulBlockQuantizedFp8Weight", "MatMulNBitsMlp"),
    *("MatMulNBitsQLoRA", "MatMulNBitsQkv", "MatMulPacked", "QOrderedAttention", "QOrderedGelu"),
    *("QOrderedLayerNormalization", "QOrderedLongformerAttention", "QOrderedMatMul"),
    *("QuantizeWithOrder", "RMSNormRotary", "RouterGateUpProj"),
)
_unruled("only DirectML has it", "FusedMatMulActivation")
_unruled("what it makes of an empty word is left over from other runs", "WordConvEmbedding")
_unruled("nothing says which rows its mask is for", "MaxpoolWithMask")
_unruled("no device runs it", "DequantizeBFP", "QuantizeBFP")
_unruled("what is compiled for a device can't be read", "EPContext", "Snpe")
_unruled("rows are not followed through sparse tensors", "SparseToDenseMatMul")
_unruled(
    "it is too new for a rule",
    *("EngramGate", "HyperConnectionPostMix", "HyperConnectionPreMix", "MoEGroupRouter"),
)

_LAYOUT = "onnxruntime makes it for itself, and no exporter"
_NHWC_ONLY = (
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace"),
    *("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "GridSample", "InstanceNormalization"),
    *("LRN", "LpPool", "MaxPool", "MaxUnpool", "QLinearAveragePool", "QLinearConv"),
    *("QLinearConvTranspose", "Resize", "SpaceToDepth"),
)
_NCHWC_ONLY = (
    *("AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"),
    *("ReorderInput", "ReorderOutput", "Upsample"),
)
without_rule(_LAYOUT, *_NHWC_ONLY, domain=NHWC)
without_rule(_LAYOUT, *_NCHWC_ONLY, domain=NCHWC)
