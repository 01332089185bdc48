//! FP16 and BF16, which scoring requests write as any other number.

use crate::tensor::Datatype;
use half::{bf16, f16};

pub(super) fn is_half(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Fp16 | Datatype::Bf16)
}

/// The number nearest to `wide` that `datatype` has; infinite where that is beyond all.
pub(super) fn nearest(datatype: Datatype, wide: f64) -> f64 {
    match datatype {
        Datatype::Bf16 => bf16::from_f64(wide).to_f64(),
        _ => f16::from_f64(wide).to_f64(),
    }
}

pub(super) fn bytes(datatype: Datatype, wide: f64) -> [u8; 2] {
    match datatype {
        Datatype::Bf16 => bf16::from_f64(wide).to_le_bytes(),
        _ => f16::from_f64(wide).to_le_bytes(),
    }
}

/// Raw elements as FP32's, which hold them all.
pub(super) fn widened(datatype: Datatype, data: &[u8]) -> Vec<u8> {
    let wide = |&raw: &[u8; 2]| match datatype {
        Datatype::Bf16 => bf16::from_le_bytes(raw).to_f32(),
        _ => f16::from_le_bytes(raw).to_f32(),
    };
    data.as_chunks::<2>().0.iter().flat_map(|raw| wide(raw).to_le_bytes()).collect()
}
