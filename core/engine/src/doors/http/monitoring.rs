//! Metrics under TensorFlow Serving's names, where its scrapers look for them.

use crate::admission::Reservation;
use crate::doors::Shared;
use crate::error::{Error, ErrorCode, Result};
use crate::metrics::tensorflow;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;
use std::sync::Arc;
use std::time::Instant;

/// TensorFlow Serving's own default, whatever the settings of its monitoring say.
pub const PATH: &str = "/monitoring/prometheus/metrics";

/// The answer counts in `held` until it is sent.
///
/// # Errors
/// `NotFound` where the settings do not tell them, and those of [`crate::doors::scrape::Scrape::page`].
pub async fn metrics(
    shared: &Arc<Shared>,
    limit: Option<Instant>,
    held: Reservation,
) -> Result<Response<Full<Bytes>>> {
    if !shared.config.tensorflow_metrics {
        return Err(Error::new(
            ErrorCode::NotFound,
            "Not Found: metrics under these names are told with the setting tensorflow_serving.metrics; all \
             others are at /metrics of the admin port",
        ));
    }
    let of = shared.clone();
    let page = shared.scrape.page(&shared.offload, limit, held, move |stop| {
        stop.check()?;
        tensorflow::text(&of.figures(None), stop)
    });
    let mut response = Response::new(Full::new(page.await?));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    Ok(response)
}
