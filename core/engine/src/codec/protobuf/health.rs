//! `grpc.health.v1`: its small messages.

use super::super::wire::Reader;
use super::write::{len_field, put_tag, put_text, put_varint};
use crate::error::Result;
use bytes::Bytes;

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingStatus {
    Serving = 1,
    NotServing = 2,
    /// In answers to `Watch`.
    ServiceUnknown = 3,
}

/// What a `HealthCheckRequest` names; empty for the server itself.
///
/// # Errors
/// `BadRequest` for what is no such message.
pub fn decode_health_check(message: &[u8]) -> Result<&str> {
    let mut service = "";
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            service = value.text()?;
        }
    }
    Ok(service)
}

fn check(status: ServingStatus) -> [u8; 2] {
    [0x08, status as u8]
}

/// A `HealthCheckResponse`.
pub fn encode_health_check(status: ServingStatus) -> Bytes {
    Bytes::copy_from_slice(&check(status))
}

/// A `HealthListResponse`: a map from names to `HealthCheckResponse`s.
pub fn encode_health_list<'a>(statuses: impl Iterator<Item = (&'a str, ServingStatus)>) -> Bytes {
    let mut out = Vec::new();
    for (name, status) in statuses {
        let check = check(status);
        let name_len = if name.is_empty() { 0 } else { len_field(1, name.len()) };
        put_tag(&mut out, 1);
        put_varint(&mut out, (name_len + len_field(2, check.len())) as u64);
        put_text(&mut out, 1, name);
        put_tag(&mut out, 2);
        put_varint(&mut out, check.len() as u64);
        out.extend_from_slice(&check);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use std::collections::BTreeMap;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Check {
        #[prost(string, tag = "1")]
        service: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Checked {
        #[prost(int32, tag = "1")]
        status: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct List {
        #[prost(btree_map = "string, message", tag = "1")]
        statuses: BTreeMap<String, Checked>,
    }

    #[test]
    fn a_check_names_a_service_or_the_server() {
        for service in ["", "tiny", "ä"] {
            let message = Check { service: service.into() }.encode_to_vec();
            assert_eq!(decode_health_check(&message).unwrap(), service);
        }
        assert_eq!(decode_health_check(&[0x10, 1, 0x0a, 1, b'a', 0x0a, 1, b'b']).unwrap(), "b");
        for bad in [&[0x0a, 2, b'a'][..], &[0x08, 1], &[0x0a, 1, 0xff], &[0x00]] {
            assert!(decode_health_check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_list_is_what_prost_reads() {
        let long = "n".repeat(300);
        let all = [
            ("", ServingStatus::Serving),
            ("tiny", ServingStatus::NotServing),
            (&long, ServingStatus::Serving),
        ];
        let read = List::decode(encode_health_list(all.into_iter())).unwrap();
        let expected = all.map(|(name, status)| (name.to_owned(), Checked { status: status as i32 }));
        assert_eq!(read.statuses, BTreeMap::from(expected));
        let one = Checked::decode(encode_health_check(ServingStatus::ServiceUnknown)).unwrap();
        assert_eq!(one.status, 3);
    }
}
