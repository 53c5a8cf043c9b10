//! The program's end of the socket to an init.
//!
//! Everybody waits here for answers and hardly ever for room. But who waits for room in a socket is
//! woken whenever the other side has read something, whether there was room before or not: several
//! times for each request, for nothing. So this end waits for what comes, and for room only while
//! there is none. What comes is read as far as it has come, so that a short answer is one read.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::talk::Line;
use super::wire::{self, Reply};

/// Bytes that are read ahead: more than most answers have.
const AHEAD: usize = 4 << 10;

/// One end of a socket.
pub(super) struct Control {
    socket: AsyncFd<UnixStream>,
    /// What has come and was not taken yet, from `taken` on.
    come: Vec<u8>,
    taken: usize,
    /// While there is no room: what tells when there is.
    room: Option<AsyncFd<UnixStream>>,
}

impl Control {
    /// Wants a runtime around it.
    pub(super) fn new(socket: UnixStream) -> io::Result<Control> {
        socket.set_nonblocking(true)?;
        let socket = watched(socket, Interest::READABLE)?;
        Ok(Control { socket, come: Vec::new(), taken: 0, room: None })
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match send(self.socket.get_ref(), bytes, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.room = None;
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let room = match &self.room {
                        Some(room) => room,
                        None => {
                            let again = self.socket.get_ref().try_clone()?;
                            let room = watched(again, Interest::WRITABLE)?;
                            self.room.insert(room)
                        }
                    };
                    // There was none a moment ago, whatever was known before.
                    let mut known = ready!(room.poll_write_ready(cx))?;
                    known.clear_ready();
                }
                Err(err) => return Poll::Ready(Err(err.into())),
            }
        }
    }

    /// Reads once what has come, at most `room` bytes.
    fn poll_once(
        socket: &AsyncFd<UnixStream>,
        cx: &mut Context<'_>,
        room: usize,
        mut read: impl FnMut(&UnixStream) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut known = ready!(socket.poll_read_ready(cx))?;
            match read(socket.get_ref()) {
                Ok(count) => {
                    // Less than there was room for: that was all for now. Nothing: that was the end.
                    if count > 0 && count < room {
                        known.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => known.clear_ready(),
                Err(err) => return Poll::Ready(Err(err.into())),
            }
        }
    }
}

/// Has the runtime watch a socket.
#[expect(unsafe_code, reason = "tokio takes the word of the caller that a descriptor stays open")]
fn watched(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    // SAFETY: the registration owns the socket, and nothing here replaces it.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(io::Error::from)
}

impl AsyncRead for Control {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Control { socket, come, taken, .. } = &mut *self;
        if *taken == come.len() && into.remaining() >= AHEAD {
            let room = into.remaining();
            let space = into.initialize_unfilled();
            let once = |socket: &UnixStream| rustix::io::read(socket, &mut *space);
            let count = ready!(Control::poll_once(socket, cx, room, once))?;
            into.advance(count);
            return Poll::Ready(Ok(()));
        }
        if *taken == come.len() {
            come.clear();
            *taken = 0;
            come.reserve(AHEAD);
            let room = come.capacity();
            let once = |socket: &UnixStream| rustix::io::read(socket, spare_capacity(come));
            ready!(Control::poll_once(socket, cx, room, once))?;
        }
        let rest = &come[*taken..];
        let count = rest.len().min(into.remaining());
        into.put_slice(&rest[..count]);
        *taken += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Control {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

impl Line for Control {
    fn receive_with(&mut self) -> BoxFuture<'_, io::Result<(Reply, Option<OwnedFd>)>> {
        Box::pin(async {
            // A descriptor comes with the first byte of its message, and is lost by a plain read.
            if self.taken < self.come.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let read = |socket: &UnixStream| receive_with(socket);
            self.socket.async_io(Interest::READABLE, read).await.and_then(word)
        })
    }
}

/// Bytes that came at once, and the descriptor that was attached to them.
pub(super) type Come = (Vec<u8>, Option<OwnedFd>);

/// Reads once from a socket whatever is there, with what is attached to it.
pub(super) fn receive_with(socket: &impl std::os::fd::AsFd) -> io::Result<Come> {
    let mut bytes = vec![0; AHEAD];
    let mut attached = None;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            attached = fds.last().or(attached.take());
        }
    }
    bytes.truncate(received.bytes);
    Ok((bytes, attached))
}

/// The reply, without a payload, that came.
pub(super) fn word((bytes, attached): Come) -> io::Result<(Reply, Option<OwnedFd>)> {
    let Some((prefix, json)) = bytes.split_first_chunk::<{ wire::PREFIX }>() else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    wire::lengths(prefix)?;
    Ok((wire::parse(json)?, attached))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn much_passes_where_there_is_little_room() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut ours = Control::new(ours).expect("a socket");
        let sent: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let echo = std::thread::spawn(move || {
            let mut theirs = theirs;
            let mut bytes = vec![0; expected.len()];
            theirs.read_exact(&mut bytes).expect("all comes");
            assert!(bytes == expected, "as it was sent");
            theirs.write_all(&bytes).expect("goes back");
        });
        ours.write_all(&sent).await.expect("all goes");
        let mut back = vec![0; sent.len()];
        ours.read_exact(&mut back).await.expect("all comes back");
        assert!(back == sent, "as it was sent");
        echo.join().expect("the other side is content");
        assert_eq!(ours.read(&mut [0; 8]).await.expect("an end"), 0);
        assert!(ours.write_all(b"x").await.is_err(), "nobody is there");
    }
}
