//! LISTEN and NOTIFY: a session that hears what others do, and tells them. It says that
//! there is something to look for, not what; who hears nothing has to look all the same.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use futures_channel::mpsc;
use futures_util::StreamExt as _;
use futures_util::future::select;
use tokio::runtime::Builder;
use tokio_postgres::AsyncMessage;

use super::Error;
use super::address::Address;

/// Listens on this channel of the database, and notifies all others that do for each that
/// comes out of `rings`. Calls `heard` once it listens, and whenever another session has
/// notified. Blocks until there is no sender of `rings` any more.
///
/// # Errors
/// What the server says, or that the connection is lost.
pub fn listen(
    address: &Address,
    channel: &str,
    rings: &mut mpsc::Receiver<()>,
    heard: impl Fn(),
) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let (config, tls) = address.listening()?;
    let session = async {
        let (client, mut connection) = config.connect(tls).await?;
        let own = Cell::new(None);
        let hear = async {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                let message = message?;
                if let AsyncMessage::Notification(notification) = message
                    && own.get() != Some(notification.process_id())
                {
                    heard();
                }
            }
            Ok(())
        };
        let ring = async {
            // What is lost by a crash here is a notification.
            let listen = format!("SET synchronous_commit = off; LISTEN {channel}");
            client.batch_execute(&listen).await?;
            let pid = client.query_typed("SELECT pg_backend_pid()", &[]).await?;
            own.set(pid.first().map(|row| row.try_get(0)).transpose()?);
            heard();
            while rings.next().await.is_some() {
                client.batch_execute(&format!("NOTIFY {channel}")).await?;
            }
            Ok(())
        };
        select(pin!(hear), pin!(ring)).await.factor_first().0
    };
    runtime
        .map_err(Error::Runtime)?
        .block_on(session)
        .map_err(address.failed())
}
