//! Real sockets for the tests of the doors.

use tokio::net::{TcpListener, TcpStream};

/// Both ends of a connection, the one that was accepted first.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}
