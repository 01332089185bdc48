//! gRPC's reflection, `v1` and `v1alpha`, whose messages are the same: what is asked, and the
//! answer to it.

use super::super::wire::{Reader, Value};
use super::descriptors::Descriptors;
use super::write::{len_field, put_tag, put_text, put_varint, text_len};
use crate::error::{ErrorCode, Result};
use crate::status;
use crate::tensor::shown;
use std::sync::LazyLock;

/// Read when somebody first asks.
static OWN: LazyLock<Descriptors> = LazyLock::new(|| Descriptors::read(crate::DESCRIPTORS));

/// A field of `ServerReflectionRequest.message_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked<'a> {
    File(&'a str),
    Symbol(&'a str),
    /// The file that defines an extension, of the type so named.
    Extension(&'a str),
    /// The numbers of all extensions of a type.
    Extensions(&'a str),
    Services,
    Nothing,
}

/// The `ServerReflectionResponse` to a `ServerReflectionRequest`, which it repeats. What is not
/// there is an `ErrorResponse` with NOT_FOUND in it; the stream goes on.
///
/// # Errors
/// `BadRequest` for what is no such request.
pub fn reflect(request: &[u8]) -> Result<Vec<u8>> {
    let (host, asked) = read(request)?;
    let (number, answer) = match asked {
        Asked::File(name) => found(OWN.file(name), "file", name),
        Asked::Symbol(name) => found(OWN.file_of(name), "symbol", name),
        // Nothing that is served here has extensions.
        Asked::Extension(name) => found(None, "extension of", name),
        Asked::Extensions(name) if OWN.has_message(name) => (5, name_message(name)),
        Asked::Extensions(name) => found(None, "message", name),
        Asked::Services => (6, OWN.services().iter().flat_map(|name| part(1, &name_message(name))).collect()),
        Asked::Nothing => failed(ErrorCode::BadRequest, "the request asks for nothing that is known here"),
    };
    let len = text_len(1, host) + len_field(2, request.len()) + len_field(number, answer.len());
    let mut out = Vec::with_capacity(len);
    put_text(&mut out, 1, host);
    put_part(&mut out, 2, request);
    put_part(&mut out, number, &answer);
    Ok(out)
}

/// The host, and what is asked; the last field of a choice is the one that holds.
fn read(request: &[u8]) -> Result<(&str, Asked<'_>)> {
    let (mut host, mut asked) = ("", Asked::Nothing);
    let mut reader = Reader::new(request);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => host = value.text()?,
            3 => asked = Asked::File(value.text()?),
            4 => asked = Asked::Symbol(value.text()?),
            5 => asked = Asked::Extension(containing_type(value)?),
            6 => asked = Asked::Extensions(value.text()?),
            7 => asked = Asked::Services,
            _ => {}
        }
    }
    Ok((host, asked))
}

/// Of an `ExtensionRequest`.
fn containing_type(value: Value<'_>) -> Result<&str> {
    let mut name = "";
    let mut reader = Reader::new(value.len()?);
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            name = value.text()?;
        }
    }
    Ok(name)
}

type Answer = (u32, Vec<u8>);

/// A `FileDescriptorResponse`.
fn found(file: Option<&[u8]>, kind: &str, name: &str) -> Answer {
    match file {
        Some(file) => (4, part(1, file)),
        None => failed(ErrorCode::NotFound, &format!("no {kind} '{}'", shown(name))),
    }
}

/// An `ErrorResponse`.
fn failed(code: ErrorCode, message: &str) -> Answer {
    let mut out = vec![0x08, status::grpc_code(code)];
    put_text(&mut out, 2, message);
    (7, out)
}

/// A message whose first field is a name.
fn name_message(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_text(&mut out, 1, name);
    out
}

fn part(number: u32, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(len_field(number, message.len()));
    put_part(&mut out, number, message);
    out
}

fn put_part(out: &mut Vec<u8>, number: u32, message: &[u8]) {
    put_tag(out, number);
    put_varint(out, message.len() as u64);
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(number: u32, text: &str) -> Vec<u8> {
        [part(1, b"here"), part(number, text.as_bytes())].concat()
    }

    /// The answer's fields behind the host and the request.
    fn answer(request: &[u8]) -> (u32, Vec<u8>) {
        let all = reflect(request).unwrap();
        let mut reader = Reader::new(&all);
        assert_eq!(reader.field().unwrap(), Some((1, Value::Len(b"here"))));
        assert_eq!(reader.field().unwrap(), Some((2, Value::Len(request))));
        let (number, value) = reader.field().unwrap().unwrap();
        assert!(reader.is_empty());
        (number, value.len().unwrap().to_vec())
    }

    #[test]
    fn files_are_found_by_name_and_by_what_they_define() {
        let file = OWN.file("inference.proto").unwrap();
        for asked in [request(3, "inference.proto"), request(4, "inference.GRPCInferenceService.ModelInfer")]
        {
            assert_eq!(answer(&asked), (4, part(1, file)));
        }
    }

    #[test]
    fn services_are_listed_each_by_its_name() {
        let (number, services) = answer(&request(7, "*"));
        assert_eq!(number, 6);
        assert!(services.starts_with(&part(1, &part(1, b"inference.GRPCInferenceService"))));
    }

    #[test]
    fn what_is_not_there_is_an_error_in_the_answer() {
        let extension = [part(1, b"here"), part(5, &part(1, b"inference.ModelConfig"))].concat();
        for (asked, words) in [
            (request(3, "no.proto"), "no file 'no.proto'"),
            (request(4, "no.Thing"), "no symbol 'no.Thing'"),
            (request(6, "no.Thing"), "no message 'no.Thing'"),
            (extension, "no extension of 'inference.ModelConfig'"),
        ] {
            let expected = [&[0x08, 5][..], &part(2, words.as_bytes())].concat();
            assert_eq!(answer(&asked), (7, expected));
        }
        assert_eq!(answer(&part(1, b"here")).1[..2], [0x08, 3]);
        assert_eq!(answer(&request(6, "inference.ModelConfig")), (5, part(1, b"inference.ModelConfig")));
    }

    proptest! {
        #[test]
        fn whatever_comes_ends_in_an_answer_or_an_error(bytes: Vec<u8>, number in 0u32..9, text: String) {
            for request in [bytes, part(number, text.as_bytes())] {
                if let Ok(answer) = reflect(&request) {
                    prop_assert!(answer.len() < request.len() + (64 << 10));
                }
            }
        }
    }
}
