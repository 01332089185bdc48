//! Whether a request means this server, by the host that it names. A page of another site can let a
//! name of its own point here (DNS rebinding), and its reader's browser then takes what is
//! answered for that site's: under such a name nothing is told that is made for browsers.

use crate::error::{Error, ErrorCode, Result};
use crate::tensor::shown;
use http::Request;
use http::header::HOST;
use std::net::{IpAddr, UdpSocket};

/// What a server listens on, and the other names that it is known by.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// As configured: an address, or a name of one.
    pub name: &'a str,
    /// The same as it is bound.
    pub address: IpAddr,
    /// Names and addresses without a port; `*.example.com` for all below, `*` for any.
    pub allowed: &'a [String],
}

impl Own<'_> {
    /// Who names no host is no browser.
    ///
    /// # Errors
    /// `Misdirected`, naming a host that is not ours: of the target, or of any header `Host`.
    pub fn check<B>(&self, request: &Request<B>) -> Result<()> {
        let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let headers = request.headers().get_all(HOST).iter().map(|value| value.as_bytes());
        for named in target.into_iter().chain(headers) {
            let host = String::from_utf8_lossy(named);
            if !self.has(&host) {
                return Err(misdirected(&host));
            }
        }
        Ok(())
    }

    /// Whether `host`, as in the header (`name`, `name:port`, `[::1]:port`), is this server:
    /// this machine's loopback, what is listened on, or what is allowed.
    pub fn has(&self, host: &str) -> bool {
        let Some(name) = without_port(host) else { return false };
        if self.allowed.iter().any(|pattern| fits(pattern, name)) {
            return true;
        }
        match address_of(name) {
            Some(address) => self.is_address(address),
            None => is_loopback_name(name) || same(name, self.name),
        }
    }

    fn is_address(&self, address: IpAddr) -> bool {
        let listened = self.address.to_canonical();
        address.is_loopback()
            || address == listened
            || (listened.is_unspecified() && is_of_this_machine(address))
    }
}

/// A machine can bind its own addresses, and those of many machines: groups' (multicast) and broadcast.
/// To the latter a socket is not connected before it has asked to be. Nothing is sent.
fn is_of_this_machine(address: IpAddr) -> bool {
    const ANY_PORT: u16 = 9;
    let connected = || UdpSocket::bind((address, 0))?.connect((address, ANY_PORT));
    !address.is_multicast() && connected().is_ok()
}

pub fn misdirected(host: &str) -> Error {
    let words = format!("this server is not known as '{}' (setting http.allowed_hosts)", shown(host));
    Error::new(ErrorCode::Misdirected, format!("Misdirected Request: {words}"))
}

/// `None` for what is no host.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, "")) => (inner, "0"),
        Some((inner, port)) => (inner, port.strip_prefix(':')?),
        None => host.split_once(':').unwrap_or((host, "0")),
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.strip_suffix('.').unwrap_or(name);
    (is_port && !name.is_empty()).then_some(name)
}

fn address_of(name: &str) -> Option<IpAddr> {
    name.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// Nobody can have a name below `localhost` (RFC 6761, 6.3).
fn is_loopback_name(name: &str) -> bool {
    fits("*.localhost", name) || same(name, "localhost")
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => true,
        Some(end) => {
            let begin = name.len().saturating_sub(end.len());
            begin > 0 && name.is_char_boundary(begin) && same(&name[begin..], end)
        }
        None => match address_of(pattern.trim_matches(['[', ']'])) {
            Some(address) => address_of(name) == Some(address),
            None => same(name, pattern),
        },
    }
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own<'a>(name: &'a str, address: &str, allowed: &'a [String]) -> Own<'a> {
        Own { name, address: address.parse().unwrap(), allowed }
    }

    #[test]
    fn loopback_is_always_ours_and_nothing_that_looks_like_it() {
        let own = own("127.0.0.1", "127.0.0.1", &[]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.localhost",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "127.0.0.1:",
        ] {
            assert!(own.has(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            ".localhost.x",
            "127.0.0.1.evil.example",
            "user@localhost",
            "localhost:80@evil.example",
            "[::1",
            "[::1]x",
            "::1:80",
            "203.0.113.9",
            "[2001:db8::1]",
            "2130706433",
            "0x7f.1",
            "\u{fffd}localhost",
        ] {
            assert!(!own.has(host), "{host}");
        }
    }

    #[test]
    fn what_is_listened_on_is_ours() {
        assert!(own("gpu1", "192.0.2.7", &[]).has("GPU1:8080"));
        assert!(own("gpu1", "192.0.2.7", &[]).has("192.0.2.7:8080"));
        assert!(!own("gpu1", "192.0.2.7", &[]).has("192.0.2.8"));
        assert!(own("::1", "::1", &[]).has("[::1]"));
        let everywhere = own("0.0.0.0", "0.0.0.0", &[]);
        assert!(everywhere.has("0.0.0.0:8080"));
        assert!(everywhere.has("127.0.0.2"), "any of this machine");
        for nobodys in ["203.0.113.9", "224.0.0.1", "239.1.2.3:80", "255.255.255.255", "[ff02::1]"] {
            assert!(!everywhere.has(nobodys), "{nobodys}");
        }
        assert!(!everywhere.has("evil.example"));
    }

    #[test]
    fn what_is_allowed_is_ours() {
        let allowed = ["models.example".to_owned(), "*.ml.example".into(), "[2001:db8::1]".into()];
        let own = own("127.0.0.1", "127.0.0.1", &allowed);
        for host in ["models.example:443", "Models.Example", "a.ml.example", "[2001:db8:0::1]:80"] {
            assert!(own.has(host), "{host}");
        }
        for host in ["x.models.example", "ml.example", "aml.example", ".ml.example", "[2001:db8::2]"] {
            assert!(!own.has(host), "{host}");
        }
        let any = ["*".to_owned()];
        assert!(Own { allowed: &any, ..own }.has("evil.example"));
    }

    #[test]
    fn every_place_that_names_a_host_is_looked_at() {
        let own = own("127.0.0.1", "127.0.0.1", &[]);
        let asked = |target: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(target);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            own.check(&request.body(()).unwrap()).map_err(|error| error.code)
        };
        assert_eq!(asked("/docs", &[]), Ok(()));
        assert_eq!(asked("http://localhost/docs", &["localhost"]), Ok(()));
        for (target, hosts) in [
            ("/docs", &["evil.example"][..]),
            ("/docs", &["localhost", "evil.example"]),
            ("http://evil.example/docs", &["localhost"]),
            ("http://localhost/docs", &["evil.example"]),
        ] {
            assert_eq!(asked(target, hosts), Err(ErrorCode::Misdirected), "{target} {hosts:?}");
        }
    }
}
