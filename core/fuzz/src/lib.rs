//! What the fuzzers share: a signature with a tensor of each kind, and what must be true
//! of a request that was taken.

pub mod gateway;

use bytes::Bytes;
use engine::admission::{Budget, Reservation};
use engine::codec::prepare::{Limits, Prepared, check_filled, prepare};
use engine::codec::{InferRequest, bytes_tensor};
use engine::stop::NEVER;
use engine::tensor::named::{Gives, NamedSignature};
use engine::tensor::schema::{Declared, Field, Param, ParamKind, Schema, Text};
use engine::tensor::{Datatype, Described, Signature, TensorSpec};
use std::sync::Arc;

/// Texts of one tensor; the fuzzers' bodies hold no more.
pub const MOST_TEXTS: usize = 1 << 16;
/// Bytes that a few values may fill up.
const MOST_FILLED: usize = 1 << 22;

fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec {
        name: name.into(),
        datatype,
        shape: shape.to_vec(),
        optional: false,
        described: None,
        labels: None,
    }
}

/// One input of each datatype, all but the first optional, and the same as outputs; `c` and `r` for examples
/// whose features fill all that features can.
pub fn signature() -> Signature {
    let named = |kind: Datatype| spec(&kind.name().to_lowercase(), kind, &[-1, 2]);
    let mut inputs: Vec<_> = Datatype::ALL.into_iter().map(named).collect();
    inputs.push(TensorSpec {
        described: Some(Described { shape: vec![-1, 1], always: false }),
        ..spec("vector", Datatype::Fp32, &[-1])
    });
    inputs.push(spec("scalar", Datatype::Int64, &[]));
    for input in inputs.iter_mut().skip(1) {
        input.optional = true;
    }
    let named = vec![
        for_examples("c", Gives::Classes { classes: None, scores: Some("fp32".into()), labels: None }),
        for_examples("r", Gives::Value("fp64".into())),
    ];
    Signature { outputs: inputs.clone(), inputs, named, ..Signature::default() }
}

fn for_examples(name: &str, gives: Gives) -> Arc<NamedSignature> {
    let no_feature = [Datatype::Fp16, Datatype::Bf16];
    let kinds = Datatype::ALL.into_iter().enumerate();
    let inputs = kinds.filter(|(_, kind)| !no_feature.contains(kind)).map(|(place, _)| place).collect();
    Arc::new(NamedSignature { name: name.into(), inputs, gives })
}

/// A signature as `MLmodel` declares it, `choice` says which: nothing, tensors or columns, with names or
/// without; for one input or for all; strict, lossy or terse; texts that stand for others, and lists.
pub fn scored(choice: u16) -> Signature {
    let mut whole = signature();
    if choice & 1 != 0 {
        let only = spec("x", Datatype::ALL[usize::from(choice >> 4) % Datatype::ALL.len()], &[-1, 2]);
        whole = Signature { inputs: vec![only], ..whole };
    }
    let has_names = choice & 2 != 0;
    let texts = [Text::Itself, Text::Datetime, Text::Binary];
    let text = texts[usize::from(choice >> 8) % texts.len()];
    let lists = usize::from(choice >> 10) % 3;
    let field = |spec: &TensorSpec, shape: &[i64], name: String| Field {
        name: has_names.then(|| name.into()),
        datatype: spec.datatype,
        shape: shape.to_vec(),
        required: !spec.optional,
        kind: "double".into(),
        text: if spec.datatype == Datatype::Bytes { text } else { Text::Itself },
        lists: if shape.is_empty() { lists } else { 0 },
    };
    let declared = match choice >> 2 & 3 {
        0 => Declared::Nothing,
        1 if has_names => Declared::Tensors(
            whole.inputs.iter().map(|one| field(one, &one.shape, one.name.to_string())).collect(),
        ),
        1 => Declared::Tensors(vec![field(&whole.inputs[0], &[-1, 2], String::new())]),
        _ if whole.inputs.len() == 1 => {
            Declared::Columns(["a", "b"].map(|name| field(&whole.inputs[0], &[], name.into())).into())
        }
        _ => {
            Declared::Columns(whole.inputs.iter().map(|one| field(one, &[], one.name.to_string())).collect())
        }
    };
    let param = |kind, list| Param { name: format!("{kind:?}").to_lowercase().into(), kind, list };
    let kinds = [ParamKind::Boolean, ParamKind::Long, ParamKind::Float, ParamKind::Text, ParamKind::Any];
    let params = kinds.into_iter().zip([false, true, false, true, false]);
    whole.schema = Schema {
        declared,
        params: params.map(|(kind, list)| param(kind, list)).collect(),
        strict: choice & 64 != 0,
        lossy: choice & 128 != 0,
        unusable: None,
        terse: choice & 1 << 15 != 0,
    };
    whole
}

/// Hold a decoded request against the signature; what is taken has the sizes it claims.
pub fn check(request: &InferRequest, signature: &Signature) {
    let limits = Limits { max_string_elements: MOST_TEXTS, stop: &NEVER };
    if check_filled(request, MOST_FILLED).is_err() {
        return;
    }
    if let Ok(prepared) = prepare(request, signature, &limits) {
        check_sizes(&prepared, signature);
    }
}

fn check_sizes(prepared: &Prepared, signature: &Signature) {
    for (input, spec) in prepared.inputs.iter().zip(&signature.inputs) {
        let Some(tensor) = input else { continue };
        assert!(spec.fits(&tensor.shape), "{:?} was taken for {spec:?}", tensor.shape);
        let elements: i64 = tensor.shape.iter().product();
        let elements = usize::try_from(elements).expect("a shape has no negative dimensions");
        match spec.datatype.size() {
            Some(size) => assert_eq!(tensor.data.len(), elements * size),
            None => {
                let texts = tensor.data.here().expect("nothing of a fuzzer is in shared memory");
                assert_eq!(bytes_tensor::elements(&texts).count(), elements);
            }
        }
    }
    for wanted in &prepared.outputs {
        assert!(wanted.place < signature.outputs.len());
    }
}

/// Of a budget without end.
pub fn boundless() -> Reservation {
    Budget::new(usize::MAX).reserve()
}

/// A copy that nothing else shares, as a socket's bytes come.
pub fn owned(data: &[u8]) -> Bytes {
    Bytes::copy_from_slice(data)
}
