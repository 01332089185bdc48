//! The status tables: every error word, in each protocol's own terms.

use crate::error::ErrorCode;
use crate::stats::Protocol;
use http::StatusCode;

/// gRPC status codes by number.
pub fn grpc_code(word: ErrorCode) -> u8 {
    match word {
        ErrorCode::Cancelled => 1,
        ErrorCode::BadRequest
        | ErrorCode::BadData
        | ErrorCode::SchemaMismatch
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::UnmetExpectation => 3,
        ErrorCode::Expired | ErrorCode::SlowBody => 4,
        ErrorCode::NotFound => 5,
        ErrorCode::PermissionDenied | ErrorCode::Misdirected => 7,
        ErrorCode::Full | ErrorCode::TooManyRequests | ErrorCode::TooLarge => 8,
        ErrorCode::Unimplemented | ErrorCode::MethodNotAllowed | ErrorCode::UnsupportedEncoding => 12,
        ErrorCode::Internal => 13,
        ErrorCode::FailedPrecondition => 9,
        ErrorCode::Unavailable => 14,
        ErrorCode::Unauthenticated => 16,
    }
}

pub fn http_status(word: ErrorCode) -> StatusCode {
    match word {
        ErrorCode::BadRequest
        | ErrorCode::BadData
        | ErrorCode::FailedPrecondition
        | ErrorCode::SchemaMismatch => StatusCode::BAD_REQUEST,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Full | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Expired => StatusCode::GATEWAY_TIMEOUT,
        // Nobody reads it: the connection is gone. nginx's number, for the counters.
        ErrorCode::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::UnsupportedMediaType | ErrorCode::UnsupportedEncoding => {
            StatusCode::UNSUPPORTED_MEDIA_TYPE
        }
        ErrorCode::UnmetExpectation => StatusCode::EXPECTATION_FAILED,
        ErrorCode::SlowBody => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::Misdirected => StatusCode::MISDIRECTED_REQUEST,
    }
}

/// As [`http_status`], but that whoever has too many requests to take another says so by a status of
/// its own (TensorFlow Serving's `/v1`, MLflow's scoring protocol).
pub fn http_status_shedding(word: ErrorCode) -> StatusCode {
    match word {
        ErrorCode::Full => http_status(ErrorCode::TooManyRequests),
        word => http_status(word),
    }
}

/// MLflow's `error_code`.
pub fn mlflow_code(word: ErrorCode) -> &'static str {
    match word {
        ErrorCode::SchemaMismatch => "INVALID_PARAMETER_VALUE",
        ErrorCode::NotFound => "RESOURCE_DOES_NOT_EXIST",
        ErrorCode::Full | ErrorCode::TooManyRequests => "RESOURCE_EXHAUSTED",
        ErrorCode::Expired => "DEADLINE_EXCEEDED",
        ErrorCode::Cancelled => "CANCELLED",
        ErrorCode::Unavailable => "TEMPORARILY_UNAVAILABLE",
        ErrorCode::Internal => "INTERNAL_ERROR",
        ErrorCode::Unimplemented => "NOT_IMPLEMENTED",
        ErrorCode::Unauthenticated => "UNAUTHENTICATED",
        ErrorCode::PermissionDenied => "PERMISSION_DENIED",
        ErrorCode::BadRequest
        | ErrorCode::BadData
        | ErrorCode::FailedPrecondition
        | ErrorCode::TooLarge
        | ErrorCode::MethodNotAllowed
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::UnsupportedEncoding
        | ErrorCode::UnmetExpectation
        | ErrorCode::Misdirected
        | ErrorCode::SlowBody => "BAD_REQUEST",
    }
}

fn grpc_name(code: u8) -> &'static str {
    match code {
        0 => "OK",
        1 => "CANCELLED",
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        9 => "FAILED_PRECONDITION",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        _ => "UNKNOWN",
    }
}

/// The `code` label of the request counters.
pub fn code_label(protocol: Protocol, outcome: Result<(), ErrorCode>) -> String {
    match (protocol, outcome) {
        (Protocol::Grpc, Ok(())) => grpc_name(0).into(),
        (Protocol::Grpc, Err(word)) => grpc_name(grpc_code(word)).into(),
        (Protocol::Http, Ok(())) => "200".into(),
        (Protocol::Http, Err(word)) => http_status(word).as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_a_row_in_every_table() {
        for word in ErrorCode::ALL {
            assert_ne!(grpc_name(grpc_code(word)), "UNKNOWN", "{word:?}");
            assert!(http_status(word).as_u16() >= 400, "{word:?}");
            assert!(http_status_shedding(word).as_u16() >= 400 && !mlflow_code(word).is_empty(), "{word:?}");
        }
    }

    #[test]
    fn only_who_sheds_is_told_apart_on_v1() {
        for word in ErrorCode::ALL {
            let (v1, v2) = (http_status_shedding(word), http_status(word));
            assert_eq!(v1 == v2, word != ErrorCode::Full, "{word:?}");
        }
        assert_eq!(http_status_shedding(ErrorCode::Full), StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn who_may_not_is_told_apart_from_what_is_wrong() {
        for (word, grpc, http) in
            [(ErrorCode::Unauthenticated, 16, 401), (ErrorCode::PermissionDenied, 7, 403)]
        {
            assert_eq!((grpc_code(word), http_status(word).as_u16()), (grpc, http), "{word:?}");
        }
    }

    #[test]
    fn client_data_never_causes_a_server_error() {
        for word in [
            ErrorCode::BadRequest,
            ErrorCode::BadData,
            ErrorCode::NotFound,
            ErrorCode::TooLarge,
            ErrorCode::SlowBody,
            ErrorCode::SchemaMismatch,
        ] {
            assert!(http_status(word).is_client_error(), "{word:?}");
        }
    }
}
