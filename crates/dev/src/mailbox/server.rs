//! Serves the page over HTTP on a separate port.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    http::{response::Builder, uri::Authority},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{read_emails, render_page};

/// Timeout for the header of a request, which also limits idle connections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay after a failed `accept`, for example without free file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

const STYLE_PATH: &str = "/style.css";
const STYLE: &str = include_str!("../../templates/style.css");

/// Content Security Policy, which blocks scripts, because emails contain text of users.
const PAGE_CSP: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; \
                      base-uri 'none'; form-action 'none'";

type Page = Response<Full<Bytes>>;

/// Serves the page with the emails in `folder` until the process exits.
///
/// # Errors
/// If the runtime can't be started or the listener can't be used.
pub fn serve(listener: TcpListener, folder: PathBuf) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, folder.clone()))),
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
            }
        }
    })
}

async fn serve_connection(stream: tokio::net::TcpStream, folder: PathBuf) {
    let service = service_fn(move |request: Request<Incoming>| {
        let page = respond(&request, &folder);
        async move { Ok::<_, Infallible>(page) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // Errors are ignored: the client closed the connection or sent invalid HTTP.
    let _ = connection.await;
}

fn respond<B>(request: &Request<B>, folder: &Path) -> Page {
    if !has_local_host(request) {
        let hint = "Use an IP address or `localhost` in the URL of this page.\n";
        return page(StatusCode::FORBIDDEN, PLAIN, hint);
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN);
        return with_body(
            response.header(header::ALLOW, "GET, HEAD"),
            "This method is not allowed. Use GET.\n",
        );
    }
    match request.uri().path() {
        "/" => page(StatusCode::OK, HTML, render_page(&read_emails(folder))),
        STYLE_PATH => page(StatusCode::OK, CSS, STYLE),
        _unknown => page(
            StatusCode::NOT_FOUND,
            PLAIN,
            "Not found. The emails are at `/`.\n",
        ),
    }
}

/// Returns whether `Host` is an IP address or `localhost`.
///
/// Otherwise a website could read the emails through a name that resolves to this machine (DNS
/// rebinding).
fn has_local_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let name = authority.host();
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Page {
    with_body(response(status, content_type), body)
}

fn response(status: StatusCode, content_type: &'static str) -> Builder {
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CONTENT_SECURITY_POLICY, PAGE_CSP)
}

fn with_body(response: Builder, body: impl Into<Bytes>) -> Page {
    response
        .body(Full::new(body.into()))
        .expect("a valid status and valid headers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_local(hosts: &[&str]) -> bool {
        let request = hosts.iter().fold(Request::builder(), |request, host| {
            request.header(header::HOST, *host)
        });
        has_local_host(&request.body(()).unwrap())
    }

    #[test]
    fn local_host_check_accepts_only_ips_and_localhost() {
        for host in [
            "localhost",
            "LOCALHOST:8025",
            "127.0.0.1",
            "127.0.0.1:8025",
            "192.0.2.1:8025",
            "[::1]",
            "[::1]:8025",
        ] {
            assert!(is_local(&[host]), "{host}");
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:8025",
            "localhost:8025@example.com",
            "a b",
        ] {
            assert!(!is_local(&[host]), "{host}");
        }
        assert!(!is_local(&[]));
        assert!(!is_local(&["localhost", "example.com"]));
    }
}
