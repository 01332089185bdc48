//! Calls as Python answers them.

use engine::doors::calls::Call as Inner;
use engine::stats::Protocol;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// Dropped unanswered, the client gets INTERNAL / 500.
#[pyclass(frozen, module = "serving._core")]
pub struct Call {
    pub inner: Inner,
}

#[pymethods]
impl Call {
    #[getter]
    fn protocol(&self) -> &'static str {
        match self.inner.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http",
        }
    }

    #[getter]
    fn service(&self) -> &'static str {
        self.inner.service
    }

    #[getter]
    fn method(&self) -> &str {
        &self.inner.method
    }

    #[getter]
    fn path(&self) -> &str {
        &self.inner.path
    }

    /// One that came several times is one with commas.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in &self.inner.headers {
            match dict.get_item(name)? {
                None => dict.set_item(name, value)?,
                Some(before) => dict.set_item(name, format!("{before}, {value}"))?,
            }
        }
        Ok(dict)
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        // A MemoryError where there is no room; `PyBytes::new` would panic.
        PyBytes::new_with(py, self.inner.body.len(), |copy| {
            copy.copy_from_slice(&self.inner.body);
            Ok(())
        })
    }

    #[getter]
    fn request_id(&self) -> Option<&str> {
        self.inner.request_id.as_deref()
    }

    /// Whether there is room.
    fn hold(&self, more: usize) -> bool {
        self.inner.hold(more).is_ok()
    }

    fn is_awaited(&self) -> bool {
        self.inner.is_awaited()
    }

    fn respond(&self, body: &[u8]) -> bool {
        self.inner.respond(body)
    }

    #[pyo3(signature = (word, message, detail = ""))]
    fn fail(&self, word: &str, message: String, detail: &str) -> PyResult<bool> {
        Ok(self.inner.fail(crate::error(word, message, detail)?))
    }
}
