//! Bytes from a file or over HTTP(S).

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;

use super::error::PackageError;
use super::origin::{beside, is_url};

/// How long a server may take to be reached, and to send the next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a server may send us elsewhere.
const MAX_REDIRECTS: usize = 5;

/// The bytes of a file (relative to `root`) or URL, at most `limit` of them.
///
/// # Errors
/// When it cannot be had, or is larger.
pub(super) fn bytes(root: &Path, place: &str, limit: u64) -> Result<Vec<u8>, PackageError> {
    let large = || {
        PackageError::unusable(format!("{place} is larger than {} MiB", limit >> 20))
            .help("data belongs beside a package, not into it")
    };
    if !is_url(place) {
        let path = root.join(place);
        let io = PackageError::io("reading", Path::new(place));
        let size = std::fs::metadata(&path).map_err(&io)?.len();
        if size > limit {
            return Err(large());
        }
        return std::fs::read(&path).map_err(io);
    }
    may_reach(place)?;
    // On a thread of its own: a caller may be inside a runtime already, where none can be started.
    let answer = std::thread::scope(|scope| {
        scope
            .spawn(|| download(place, limit))
            .join()
            .unwrap_or_else(|_| Err(Lost::Why("it stopped".into())))
    });
    answer.map_err(|lost| match lost {
        Lost::Large => large(),
        Lost::Why(why) => PackageError::absent(format!("fetching {place}: {why}"))
            .help("look at the address and the network"),
    })
}

/// Refuses to reach for anything beyond this machine's files when `CLAW_OFFLINE` is set.
///
/// # Errors
/// When it is set.
pub(super) fn may_reach(place: &str) -> Result<(), PackageError> {
    if std::env::var_os("CLAW_OFFLINE").is_none_or(|value| value.is_empty()) {
        return Ok(());
    }
    Err(PackageError::absent(format!("CLAW_OFFLINE is set, so {place} is not asked"))
        .help("unset CLAW_OFFLINE once to fetch it"))
}

/// A place below another one: a path in a folder, or in what a URL names.
pub(super) fn below(base: &str, path: &str) -> String {
    if is_url(base) { format!("{}/{path}", base.trim_end_matches('/')) } else { beside(base, path) }
}

enum Lost {
    Large,
    Why(String),
}

fn download(url: &str, limit: u64) -> Result<Vec<u8>, Lost> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| Lost::Why(err.to_string()))?;
    runtime.block_on(async {
        let response = client().map_err(because)?.get(url).send().await.map_err(because)?;
        if !response.status().is_success() {
            return Err(Lost::Why(format!("the server answered {}", response.status())));
        }
        let mut bytes = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(because)?);
            if bytes.len() as u64 > limit {
                return Err(Lost::Large);
            }
        }
        Ok(bytes)
    })
}

/// The innermost reason says most: `connection refused` rather than `error sending request`.
fn because(err: reqwest::Error) -> Lost {
    let mut reason: &dyn std::error::Error = &err;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    Lost::Why(reason.to_string())
}

fn client() -> reqwest::Result<reqwest::Client> {
    // Only the first call installs it; later ones are told so, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let redirects = reqwest::redirect::Policy::custom(|attempt| {
        let from_safe = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > MAX_REDIRECTS {
            attempt.error("it sends us from place to place")
        } else if from_safe && attempt.url().scheme() != "https" {
            attempt.error("it sends us from https to http")
        } else {
            attempt.follow()
        }
    });
    reqwest::Client::builder()
        .user_agent(concat!("claw/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .build()
}
