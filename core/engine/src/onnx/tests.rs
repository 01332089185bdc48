use super::beside::{Stopped, places};
use super::*;
use proptest::prelude::*;

/// A length-delimited field.
fn field(number: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3 | 2), &mut out);
    prost::encoding::encode_varint(data.len() as u64, &mut out);
    out.extend_from_slice(data);
    out
}

fn number(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::from(number << 3), &mut out);
    prost::encoding::encode_varint(value, &mut out);
    out
}

fn nested(depth: usize) -> Vec<u8> {
    let graph = (0..depth).fold(Vec::new(), |graph, _| field(1, &field(5, &field(6, &graph))));
    field(7, &graph)
}

#[test]
fn fault_47_graphs_nested_without_end_are_refused() {
    assert!(file::read(&nested(99)).is_ok());
    assert_eq!(file::read(&nested(150)), Err(NotOnnx::TooDeep(100)));
    assert!(graph::read(&nested(63)).is_ok());
    assert_eq!(graph::read(&nested(64)), Err(NotOnnx::TooDeep(64)));
    assert_eq!(NotOnnx::TooDeep(64).to_string(), "has graphs nested more than 64 deep");
}

#[test]
fn what_breaks_off_and_what_is_malformed_are_told_apart() {
    let model = field(7, &field(1, &field(1, b"x")));
    assert_eq!(file::read(&model[..model.len() - 1]), Err(NotOnnx::Cut));
    assert_eq!(file::read(&[0x3b]), Err(NotOnnx::Malformed));
    assert_eq!(file::read(&field(7, &field(1, &field(7, b"\xff")))), Err(NotOnnx::NotUtf8));
}

#[test]
fn a_message_in_several_parts_is_read_as_one() {
    let tensor = [number(1, 2), number(2, 7)].concat();
    let more = [number(7, 5), number(7, u64::MAX)].concat();
    let attribute = [field(1, b"value"), field(5, &tensor), field(5, &more)].concat();
    let model = graph::read(&field(7, &field(1, &field(5, &attribute)))).unwrap();
    let constant = &model.graph.nodes[0].tensors["value"];
    assert_eq!((constant.dims.as_slice(), constant.values.as_deref()), (&[2][..], Some(&[5, -1][..])));
}

#[test]
fn shapes_that_no_tensor_has_hold_no_values() {
    let count = |dims: &[i64]| {
        let dims: Vec<u8> = dims.iter().flat_map(|&size| number(1, size as u64)).collect();
        let tensor = [dims, number(2, 7), field(9, &[0; 16])].concat();
        constant::tensor(&tensor).unwrap().1.values.map(|values| values.len())
    };
    assert_eq!(count(&[2]), Some(2));
    assert_eq!(count(&[-2, -1]), Some(2));
    for dims in [&[i64::MAX, i64::MAX][..], &[-2], &[3], &[0], &[4097], &[i64::MIN, i64::MIN, 2]] {
        assert_eq!(count(dims), None, "{dims:?}");
    }
}

#[test]
fn lists_that_end_within_a_number_are_refused_however_long() {
    for len in [1, 10_000] {
        let list = [vec![1; len], vec![0x80]].concat();
        let attribute = field(8, &list);
        assert_eq!(graph::read(&field(7, &field(1, &field(5, &attribute)))), Err(NotOnnx::Cut));
    }
}

#[test]
fn types_are_written_as_onnxruntime_writes_them() {
    let tensor = field(1, &number(1, 1));
    let map = field(5, &[number(1, 7), field(2, &tensor)].concat());
    let info = [field(1, b"y"), field(2, &field(4, &field(1, &map)))].concat();
    let model = field(7, &field(12, &info));
    let found = interface::read(&model).unwrap();
    assert_eq!(found.outputs[0].words, "seq(map(int64,tensor(float)))");
    assert_eq!((found.outputs[0].name, found.outputs[0].element), (Some("y"), None));
}

fn placed(data: &[u8], most: usize) -> (Vec<(u64, u64)>, Option<Stopped>) {
    places(data.len() as u64, &[1, 8], 100, most, |head, at| {
        let rest = &data[at as usize..];
        let len = rest.len().min(head.len());
        head[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    })
    .unwrap()
}

#[test]
fn fields_beside_a_graph_are_found_without_it() {
    let data = [number(1, 8), field(7, &[0xff; 300]), field(8, b"a"), field(8, &[0; 200])].concat();
    assert_eq!(placed(&data, 4), (vec![(0, 2), (305, 3)], None));
    assert_eq!(placed(&data, 3), (vec![(0, 2), (305, 3)], Some(Stopped::TooMany)));
    let (found, stopped) = placed(&data[..data.len() - 1], 9);
    assert_eq!((found.len(), stopped), (2, Some(Stopped::NotOnnx(NotOnnx::Cut))));
    let endless = [0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(placed(&endless, 9).1, Some(Stopped::NotOnnx(NotOnnx::Cut)));
}

proptest! {
    #[test]
    fn any_bytes_end_with_a_verdict(bytes: Vec<u8>, at: prop::sample::Index) {
        let model = nested(3);
        let changed = [&model[..at.index(model.len())], &bytes, &model[at.index(model.len())..]].concat();
        for data in [&bytes, &field(7, &bytes), &field(7, &field(1, &field(5, &bytes))), &changed] {
            let _ = (file::read(data), graph::read(data), interface::read(data));
        }
    }

    #[test]
    fn halves_are_read_as_ieee_754_has_them(sign: bool, exponent in 0i32..31, fraction in 0u16..1024) {
        let bits = u16::from(sign) << 15 | (exponent as u16) << 10 | fraction;
        let fraction = f64::from(fraction) / 1024.0;
        let size = if exponent == 0 { fraction * 2f64.powi(-14) } else { (1.0 + fraction) * 2f64.powi(exponent - 15) };
        prop_assert_eq!(constant::float(&bits.to_le_bytes()), Some(if sign { -size } else { size }));
    }
}
