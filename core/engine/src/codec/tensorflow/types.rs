//! `tensorflow.DataType`, beside our datatypes.

use crate::tensor::Datatype;

/// Number, name and datatype of those that tensors here can have.
const TYPES: [(i32, &str, Datatype); 14] = [
    (1, "DT_FLOAT", Datatype::Fp32),
    (2, "DT_DOUBLE", Datatype::Fp64),
    (3, "DT_INT32", Datatype::Int32),
    (4, "DT_UINT8", Datatype::Uint8),
    (5, "DT_INT16", Datatype::Int16),
    (6, "DT_INT8", Datatype::Int8),
    (7, "DT_STRING", Datatype::Bytes),
    (9, "DT_INT64", Datatype::Int64),
    (10, "DT_BOOL", Datatype::Bool),
    (14, "DT_BFLOAT16", Datatype::Bf16),
    (17, "DT_UINT16", Datatype::Uint16),
    (19, "DT_HALF", Datatype::Fp16),
    (22, "DT_UINT32", Datatype::Uint32),
    (23, "DT_UINT64", Datatype::Uint64),
];

/// The rest, for errors.
const OTHERS: [(i32, &str); 10] = [
    (0, "DT_INVALID"),
    (8, "DT_COMPLEX64"),
    (11, "DT_QINT8"),
    (12, "DT_QUINT8"),
    (13, "DT_QINT32"),
    (15, "DT_QINT16"),
    (16, "DT_QUINT16"),
    (18, "DT_COMPLEX128"),
    (20, "DT_RESOURCE"),
    (21, "DT_VARIANT"),
];

/// How far a reference type is from its own.
const REFERENCE: i32 = 100;

pub(super) fn datatype(number: i32) -> Option<Datatype> {
    TYPES.iter().find(|(known, ..)| *known == number).map(|(.., datatype)| *datatype)
}

pub(super) fn number_of(datatype: Datatype) -> u8 {
    let found = TYPES.iter().find(|(.., known)| *known == datatype);
    found.and_then(|(number, ..)| u8::try_from(*number).ok()).unwrap_or_default()
}

pub(in crate::codec) fn name_of(datatype: Datatype) -> &'static str {
    TYPES.iter().find(|(.., known)| *known == datatype).map_or("DT_INVALID", |(_, name, _)| name)
}

/// As errors of examples call it: `float` for `DT_FLOAT`.
pub(super) fn plain_name_of(datatype: Datatype) -> String {
    name_of(datatype).trim_start_matches("DT_").to_ascii_lowercase()
}

/// Of a type that no tensor here has, as errors call it.
pub(super) fn other_name(number: i32) -> String {
    let plain = number.checked_sub(REFERENCE).filter(|plain| *plain > 0);
    match OTHERS.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => (*name).into(),
        None => match plain.and_then(datatype) {
            Some(datatype) => format!("{}_REF", name_of(datatype)),
            None => format!("number {number}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datatype_has_a_number_and_a_name_of_its_own() {
        for known in Datatype::ALL {
            assert_eq!(datatype(number_of(known).into()), Some(known));
            assert_ne!(name_of(known), "DT_INVALID");
        }
    }

    #[test]
    fn types_that_no_tensor_here_has_are_named() {
        for (number, name) in
            [(0, "DT_INVALID"), (8, "DT_COMPLEX64"), (21, "DT_VARIANT"), (101, "DT_FLOAT_REF")]
        {
            assert_eq!((datatype(number), other_name(number)), (None, name.to_owned()));
        }
        for number in [i32::MIN, -1, 24, 29, 99, 100, 108, 1000, i32::MAX] {
            assert_eq!((datatype(number), other_name(number)), (None, format!("number {number}")));
        }
    }
}
