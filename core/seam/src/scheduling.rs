//! [`engine::scheduling`], for threads that Python starts.

use pyo3::prelude::*;
use std::sync::Mutex;
use std::time::Duration;

pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(note_run, module)?)?;
    module.add_function(wrap_pyfunction!(take_short_turns, module)?)?;
    module.add_class::<Computing>()
}

#[pyfunction]
fn take_short_turns() {
    engine::scheduling::take_short_turns();
}

#[pyfunction]
fn note_run(seconds: f64) -> bool {
    engine::scheduling::note_run(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// A context: something computes while it is open.
#[pyclass(frozen, module = "serving._core")]
#[derive(Default)]
struct Computing {
    open: Mutex<Option<engine::scheduling::Computing>>,
}

#[pymethods]
impl Computing {
    #[new]
    fn new() -> Self {
        Computing::default()
    }

    fn __enter__(&self) {
        self.set(Some(engine::scheduling::computing()));
    }

    fn __exit__(&self, _kind: Py<PyAny>, _error: Py<PyAny>, _trace: Py<PyAny>) {
        self.set(None);
    }
}

impl Computing {
    fn set(&self, open: Option<engine::scheduling::Computing>) {
        *self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = open;
    }
}
