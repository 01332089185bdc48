//! What a request's head says of who is to answer it: an alias, the version that a tester forces, the keys
//! that routes keep their clients by.

use crate::codec::{InferRequest, names};
use crate::doors::Shared;
use crate::error::{Error, Result};
use crate::routes::{Key, Keys, Reference, Sticky};
use http::{HeaderMap, HeaderName};
use std::sync::Arc;

/// Names the version that is to answer by another name.
const ALIAS: HeaderName = HeaderName::from_static("x-serving-alias");
/// Names a version, or an alias, that is to answer whatever the route says; for testers.
const FORCED: HeaderName = HeaderName::from_static("x-serving-version");

/// Most heads say nothing.
pub type Steering = Option<Arc<Said>>;

#[derive(Debug, Default)]
pub struct Said {
    alias: String,
    forced: String,
    keys: Vec<(Sticky, Key)>,
}

/// Keys are read only where a route looks at them, the tester's header only where it is taken.
///
/// # Errors
/// `BadRequest` for a name that came more than once, is no text or too long.
pub fn read(shared: &Shared, headers: &HeaderMap) -> Result<Steering> {
    let alias = name(headers, &ALIAS)?;
    let forced = if shared.config.forced_version { name(headers, &FORCED)? } else { "" };
    let keys = shared.routes.keys_in(headers);
    if alias.is_empty() && forced.is_empty() && keys.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(Said { alias: alias.to_owned(), forced: forced.to_owned(), keys })))
}

fn name<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Result<&'h str> {
    let Some(first) = headers.get(header) else { return Ok("") };
    if headers.get_all(header).iter().nth(1).is_some() {
        return Err(Error::bad(format!("header {header} came more than once")));
    }
    let text = std::str::from_utf8(first.as_bytes());
    let text = text.map_err(|_| Error::bad(format!("header {header} is not text")))?;
    names::name(&format!("header {header}"), text.trim())
}

/// What a request names, with what its head says; before it is decoded it has no parameters.
pub fn reference<'a>(
    (model, version): (&'a str, &'a str),
    steering: &'a Steering,
    request: Option<&'a InferRequest>,
) -> Reference<'a> {
    let said = steering.as_deref();
    let own = request.map_or("", InferRequest::alias);
    let alias = if own.is_empty() { said.map_or("", |said| &said.alias) } else { own };
    Reference {
        model,
        version,
        alias,
        forced: said.map_or("", |said| &said.forced),
        keys: Keys {
            head: said.map_or(&[], |said| &said.keys),
            parameters: request.map_or(&[], |request| &request.parameters),
        },
    }
}

/// What a decoded request names.
pub fn of<'a>(request: &'a InferRequest, steering: &'a Steering) -> Reference<'a> {
    reference((&request.model, &request.version), steering, Some(request))
}
