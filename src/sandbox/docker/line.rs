//! The standard streams of a container, as one stream in both directions.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bollard::container::{AttachContainerResults, LogOutput};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sandbox::talk::Line;
use crate::sandbox::wire::Reply;

/// Bytes kept of what a container says on standard error.
const SAID: usize = 2000;

/// What is written goes to its standard input, what is read comes from its standard output.
pub(super) struct Attached {
    streams: AttachContainerResults,
    /// What came and was not read yet.
    rest: Vec<u8>,
    at: usize,
    said: Said,
}

/// What the container said on standard error: its end, for messages.
#[derive(Clone, Default)]
pub(super) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// As one line; empty when it said nothing.
    pub(super) fn line(&self) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said).into_owned();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn push(&self, bytes: &[u8]) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(bytes);
        let excess = said.len().saturating_sub(SAID);
        said.drain(..excess);
    }
}

impl Attached {
    pub(super) fn new(streams: AttachContainerResults, said: Said) -> Attached {
        Attached { streams, rest: Vec::new(), at: 0, said }
    }
}

impl Line for Attached {
    fn receive_with(&mut self) -> BoxFuture<'_, io::Result<(Reply, Option<OwnedFd>)>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}

impl AsyncRead for Attached {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.at == this.rest.len() {
            match ready!(this.streams.output.as_mut().poll_next(context)) {
                Some(Ok(LogOutput::StdOut { message })) => {
                    this.rest.clear();
                    this.rest.extend_from_slice(&message);
                    this.at = 0;
                }
                Some(Ok(other)) => this.said.push(&other.into_bytes()),
                Some(Err(err)) => return Poll::Ready(Err(io::Error::other(err))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = into.remaining().min(this.rest.len() - this.at);
        into.put_slice(&this.rest[this.at..this.at + count]);
        this.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Attached {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().streams.input.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().streams.input.as_mut().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().streams.input.as_mut().poll_shutdown(context)
    }
}
