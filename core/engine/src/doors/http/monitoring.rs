//! Metrics under TensorFlow Serving's names, where its scrapers look for them.

use super::protocol::Named;
use crate::doors::Shared;
use crate::error::{Error, ErrorCode, Result};
use crate::metrics::tensorflow;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use http_body_util::Full;

/// TensorFlow Serving's own default, whatever the settings of its monitoring say.
pub const PATH: &str = "/monitoring/prometheus/metrics";

/// # Errors
/// `NotFound` where the settings do not tell them.
pub fn metrics(shared: &Shared, _: &Named) -> Result<Response<Full<Bytes>>> {
    if !shared.config.tensorflow_metrics {
        return Err(Error::new(
            ErrorCode::NotFound,
            "Not Found: metrics under these names are told with the setting tensorflow_serving.metrics; all \
             others are at /metrics of the admin port",
        ));
    }
    let mut response = Response::new(Full::new(tensorflow::text(&shared.figures(None)).into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    Ok(response)
}
