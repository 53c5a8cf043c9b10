//! What reaches into a sandbox and out of it beside files: a socket that listens inside, and a stop.

use std::io::{Read, Write};
use std::time::Duration;

use claw::sandbox::{Exit, Sandbox, SandboxError};

use super::{backends, kinds, ok, open, python, sh, shell, told};

/// Connects to a port and says what it is told there.
fn caller(port: u16) -> String {
    format!(
        "import socket\ns = socket.create_connection(('127.0.0.1', {port}), 20)\n\
         s.sendall(b'hello')\nprint(s.recv(100).decode())"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_heard_where_the_program_listens() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        let listener = sandbox.listen(7411).await.expect("it listens");
        let port = listener.local_addr().expect("an address").port();
        if backend.name() != "local" {
            assert_eq!(port, 7411);
            let again = sandbox.listen(7411).await.unwrap_err();
            assert!(matches!(&again, SandboxError::Broken(why) if why.contains("7411")), "{again}");
        }
        let heard = std::thread::spawn(move || {
            let mut said = Vec::new();
            for answer in ["one", "two"] {
                let (mut stream, _) = listener.accept().expect("a call");
                let mut word = [0; 5];
                stream.read_exact(&mut word).expect("a word");
                said.push(String::from_utf8_lossy(&word).into_owned());
                stream.write_all(answer.as_bytes()).expect("it hears");
            }
            said
        });
        for answer in ["one\n", "two\n"] {
            let done = sandbox.exec(&python(&caller(port))).await.expect("the sandbox works");
            assert_eq!(told(done), ok(answer), "{}", backend.name());
        }
        assert_eq!(heard.join().expect("it heard"), ["hello", "hello"]);
    }
}

/// Two sandboxes listen on the same port, and each hears its own commands alone; the machine's own
/// ports are not there.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_the_commands_of_another_sandbox() {
    for backend in kinds() {
        let (mut one, _) = open(backend, &[]).await;
        let (mut other, _) = open(backend, &[]).await;
        let (ours, theirs) = (one.listen(7411).await, other.listen(7411).await);
        let (ours, theirs) = (ours.expect("it listens"), theirs.expect("it listens"));
        ours.set_nonblocking(true).expect("a socket");
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = theirs.accept().expect("a call");
            stream.write_all(b"theirs").expect("it hears");
        });
        let done = other.exec(&python(&caller(7411))).await.expect("the sandbox works");
        assert_eq!(told(done), ok("theirs\n"));
        answers.join().expect("it answered");
        let nobody = ours.accept().unwrap_err();
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
        let outside = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = outside.local_addr().expect("an address").port();
        let (exit, said) = told(one.exec(&python(&caller(port))).await.expect("the sandbox works"));
        assert!(exit == Exit::Code(1) && said.contains("ConnectionRefusedError"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_stopped_and_the_sandbox_goes_on() {
    for backend in backends() {
        let (mut sandbox, objects) = open(backend, &[]).await;
        let line = shell("echo begun; echo kept > file; (sleep 100; echo late > late) & sleep 100");
        let enough = Box::pin(tokio::time::sleep(Duration::from_millis(300)));
        let outcome = sandbox.exec_until(&line, enough).await.expect("the sandbox works");
        assert_eq!(told(outcome), (Exit::Signal(9), "begun\n".to_string()), "{}", backend.name());
        assert_eq!(sh(&mut sandbox, "cat file").await, ok("kept\n"), "{}", backend.name());
        let closed = sandbox.close(&objects).await.expect("it closes");
        let tree = closed.workspace;
        assert_eq!(tree.entries.keys().collect::<Vec<_>>(), ["file"]);
    }
}

/// The stop may come at any moment of a command's end, and what comes next is not confused by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_comes_late_stops_nothing() {
    for backend in backends() {
        let (mut sandbox, _) = open(backend, &[]).await;
        for wait in 0..30 {
            let enough = Box::pin(tokio::time::sleep(Duration::from_micros(wait * 200)));
            let done = sandbox.exec_until(&shell("true"), enough).await.expect("it works");
            assert!(matches!(done.exit, Exit::Code(0) | Exit::Signal(9)), "{:?}", done.exit);
            let next: &mut Box<dyn Sandbox> = &mut sandbox;
            assert_eq!(sh(next, "echo next").await, ok("next\n"), "{}", backend.name());
        }
        let never = Box::pin(futures::future::pending());
        let done = sandbox.exec_until(&shell("echo whole"), never).await.expect("it works");
        assert_eq!(told(done), ok("whole\n"));
    }
}
