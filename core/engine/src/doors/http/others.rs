//! What is no inference over HTTP: answered here, by whoever pulls calls, or refused.

use super::answer::{Told, failed, json};
use super::monitoring;
use super::protocol::{Kind, Named, Protocol};
use super::request::read;
use super::web;
use crate::doors::calls::{self, Call};
use crate::doors::incoming::Incoming;
use crate::doors::lifetime::Busy;
use crate::doors::{Shared, infer, pages, text_headers, within};
use crate::error::{ErrorCode, Result};
use crate::ids;
use crate::observe::Origin;
use crate::stats::Protocol as Door;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use std::sync::Arc;
use std::time::Instant;

/// What is answered here or by whoever pulls calls, and what no path names; told to the
/// access log.
pub async fn answer(
    shared: &Arc<Shared>,
    started: Instant,
    client_id: Option<&str>,
    (protocol, target): (&Protocol, Result<(Kind, Named)>),
    request: Request<&mut Incoming>,
    busy: &Busy,
) -> Response<Full<Bytes>> {
    let record = shared.observer.begin_other(|| Origin {
        protocol: Door::Http,
        method: request.method().as_str().to_owned().into(),
        path: request.uri().path().to_owned(),
        request_id: client_id.map(str::to_owned),
        started,
    });
    let id = client_id.or_else(|| record.as_ref().map(|w| w.request_id()));
    let outcome = match target {
        Ok((Kind::Local(answers), named)) => answers(shared, &named),
        Ok((Kind::Metrics, _)) => {
            let limit = infer::deadline(shared, started, None, 0);
            monitoring::metrics(shared, limit, request.body().budget().reserve()).await
        }
        Ok((Kind::Entrance, _)) => entrance(shared, started, id, request, busy).await,
        Ok((Kind::Page, _)) => page(shared, started, id, request, busy).await,
        Ok(_) => call(shared, started, id, request, busy).await,
        Err(error) => Err(error),
    };
    let outcome = outcome.map_err(|error| protocol.told(error));
    let word = outcome.as_ref().err().map(|error| error.code);
    let told = |error| failed(shared, protocol, id, "", Told::wholly(&error));
    let mut response = outcome.unwrap_or_else(told);
    if let Some(record) = &record {
        let bytes = response.body().size_hint().lower();
        let unwell = response.status() == StatusCode::SERVICE_UNAVAILABLE;
        let word = word.or(unwell.then_some(ErrorCode::Unavailable));
        record.finish_other(&shared.events, word.map_or(Ok(()), Err), response.status().as_str(), bytes);
        ids::put(response.headers_mut(), record.request_id());
    }
    response
}

async fn entrance(
    shared: &Shared,
    started: Instant,
    client_id: Option<&str>,
    request: Request<&mut Incoming>,
    busy: &Busy,
) -> Result<Response<Full<Bytes>>> {
    if let Some(elsewhere) = web::redirect(shared, &request)? {
        return Ok(elsewhere);
    }
    let mut response = call(shared, started, client_id, request, busy).await?;
    web::vary(response.headers_mut());
    Ok(response)
}

async fn page(
    shared: &Shared,
    started: Instant,
    client_id: Option<&str>,
    request: Request<&mut Incoming>,
    busy: &Busy,
) -> Result<Response<Full<Bytes>>> {
    if let Some(file) = web::page(shared, &request)? {
        return Ok(file.answer(request.headers()));
    }
    let mut response = call(shared, started, client_id, request, busy).await?;
    pages::guard(response.headers_mut());
    Ok(response)
}

async fn call(
    shared: &Shared,
    started: Instant,
    client_id: Option<&str>,
    request: Request<&mut Incoming>,
    busy: &Busy,
) -> Result<Response<Full<Bytes>>> {
    let headers = text_headers(request.headers());
    // While the body comes; then the call counts them.
    let mut beside = request.body().budget().reserve();
    beside.take(calls::text_bytes(&headers))?;
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let (parts, body) = request.into_parts();
    let limit = infer::deadline(shared, started, None, 0);
    let (data, held) = read(shared, (&parts.headers, body), limit, busy).await?;
    drop(beside);
    let (mut call, answer) = Call::new((Door::Http, method), path, headers, data, held)?;
    call.request_id = client_id.map(str::to_owned);
    shared.calls.push(call)?;
    within(limit, answer).await.map(json)
}
