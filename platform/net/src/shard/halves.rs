//! A stream read and written by one task: as [`tokio::io::split`], without an allocation and a lock
//! that stay for as long as the connection does.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads from a stream that [`Writer`] writes to.
#[derive(Debug)]
pub(crate) struct Reader<'a, S>(&'a RefCell<S>);

/// Writes to a stream that [`Reader`] reads from.
#[derive(Debug)]
pub(crate) struct Writer<'a, S>(&'a RefCell<S>);

/// Both halves. One task polls them in turn, so neither ever finds the stream borrowed.
pub(crate) fn split<S>(stream: &RefCell<S>) -> (Reader<'_, S>, Writer<'_, S>) {
    (Reader(stream), Writer(stream))
}

impl<S: AsyncRead + Unpin> AsyncRead for Reader<'_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Writer<'_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_shutdown(cx)
    }
}
