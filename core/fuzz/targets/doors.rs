//! Conversations with the doors: bytes as they are, requests around them, HTTP/2 frames
//! around them. After each the server answers others, and now and then it must hold nothing.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use fuzzed::gateway::{server, settled, talk, witness};
use libfuzzer_sys::fuzz_target;
use std::cell::Cell;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const DATA: u8 = 0;
const PATHS: [&str; 10] = [
    "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/RepositoryIndex",
    "/tensorflow.serving.PredictionService/Predict",
    "/tensorflow.serving.PredictionService/MultiInference",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/v2/models/m/infer",
];

const POSTS: [&str; 6] = [
    "/v2/models/m/infer",
    "/v2/models/m/versions/1/infer",
    "/v2/repository/index",
    "/v1/models/m:predict",
    "/v1/models/m:classify",
    "/models/m/invocations",
];

#[derive(Arbitrary, Debug)]
enum Talk<'a> {
    Http { bytes: &'a [u8] },
    Grpc { bytes: &'a [u8] },
    Post { path: u8, gzip: bool, json: Option<u8>, chunked: bool, body: &'a [u8] },
    Frames { door: bool, frames: Vec<Frame<'a>> },
}

#[derive(Arbitrary, Debug)]
enum Frame<'a> {
    Any { kind: u8, flags: u8, stream: u8, payload: &'a [u8] },
    Head { path: u8, stream: u8, extra: Option<(&'a str, &'a [u8])>, ends: bool },
    Message { stream: u8, packed: u8, body: &'a [u8], ends: bool },
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(16_384)];
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header as HPACK writes it without its tables.
fn header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        let text = &text[..text.len().min(126)];
        out.push(text.len() as u8);
        out.extend(text);
    }
}

fn head(path: &str, extra: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        header(&mut out, name.as_bytes(), value.as_bytes());
    }
    if let Some((name, value)) = extra {
        header(&mut out, name.as_bytes(), value);
    }
    out
}

/// Streams of a client are odd.
fn odd(stream: u8) -> u32 {
    u32::from(stream % 8) * 2 + 1
}

fn bytes_of(one: &Frame<'_>) -> Vec<u8> {
    match *one {
        Frame::Any { kind, flags, stream, payload } => frame(kind, flags, u32::from(stream), payload),
        Frame::Head { path, stream, extra, ends } => {
            let path = PATHS[usize::from(path) % PATHS.len()];
            frame(HEADERS, 4 | u8::from(ends), odd(stream), &head(path, extra))
        }
        Frame::Message { stream, packed, body, ends } => {
            let mut message = vec![packed];
            message.extend((body.len() as u32).to_be_bytes());
            message.extend(body);
            frame(DATA, u8::from(ends), odd(stream), &message)
        }
    }
}

fn post(path: u8, gzip: bool, json: Option<u8>, chunked: bool, body: &[u8]) -> Vec<u8> {
    let path = POSTS[usize::from(path) % POSTS.len()];
    let mut out =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n");
    if gzip {
        out += "Content-Encoding: gzip\r\n";
    }
    if let Some(length) = json {
        out += &format!("Inference-Header-Content-Length: {length}\r\n");
    }
    let mut out = if chunked {
        format!("{out}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()).into_bytes()
    } else {
        format!("{out}Content-Length: {}\r\n\r\n", body.len()).into_bytes()
    };
    out.extend(body);
    if chunked {
        out.extend(b"\r\n0\r\n\r\n");
    }
    out
}

fn say(talking: Talk<'_>) {
    let server = server();
    match talking {
        Talk::Http { bytes } => talk(server.http_address, &[bytes]),
        Talk::Grpc { bytes } => talk(server.grpc_address, &[PREFACE, &frame(SETTINGS, 0, 0, &[]), bytes]),
        Talk::Post { path, gzip, json, chunked, body } => {
            talk(server.http_address, &[&post(path, gzip, json, chunked, body)])
        }
        Talk::Frames { door, frames } => {
            let address = if door { server.http_address } else { server.grpc_address };
            let frames: Vec<u8> = frames.iter().take(64).flat_map(bytes_of).collect();
            talk(address, &[PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames])
        }
    };
}

thread_local! {
    static TALKS: Cell<u64> = const { Cell::new(0) };
}

fuzz_target!(|data: &[u8]| {
    let Ok(talking) = Talk::arbitrary_take_rest(Unstructured::new(data)) else { return };
    say(talking);
    let talks = TALKS.get() + 1;
    TALKS.set(talks);
    if talks % 64 == 0 {
        witness();
        settled(server().shared());
    }
});
