//! LISTEN and NOTIFY: a session that hears what others do, and tells them. It says that
//! there is something to look for, not what; who hears nothing has to look all the same.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use futures_channel::{mpsc, oneshot};
use futures_util::StreamExt as _;
use futures_util::future::select;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_postgres::AsyncMessage;

use super::Error;
use super::address::Address;

/// How long a session is left alone to hear what is notified, before it is asked.
const HEARING: Duration = Duration::from_millis(500);

/// Listens on this channel at the address, and notifies all others that do for each that
/// comes out of `rings`. Calls `heard` whenever another session has notified. Before all
/// else, one does so at the `database`: what is not heard then never will be. Blocks until
/// there is no sender of `rings` any more.
///
/// # Errors
/// What the server says, or that the connection is lost; [`Error::Deaf`].
pub fn listen(
    address: &Address,
    database: &Address,
    channel: &str,
    rings: &mut mpsc::Receiver<()>,
    heard: impl Fn(),
) -> Result<(), Error> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let (config, tls) = address.listening()?;
    // What is lost by a crash here is a notification. For this transaction alone: with a
    // pooler, the session is another's next.
    let notify = &*format!("SET LOCAL synchronous_commit = off; NOTIFY {channel}");
    let failed = address.failed();
    let session = async {
        let (client, mut connection) = config.connect(tls).await.map_err(&failed)?;
        let own = Cell::new(None);
        let (first, mut hears) = oneshot::channel();
        let first = Cell::new(Some(first));
        let hear = async {
            while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
                let message = message.map_err(&failed)?;
                if let AsyncMessage::Notification(notification) = message
                    && own.get() != Some(notification.process_id())
                {
                    heard();
                    first.take().map(|first| first.send(()));
                }
            }
            Ok(())
        };
        let ring = async {
            let listen = format!("LISTEN {channel}");
            client.batch_execute(&listen).await.map_err(&failed)?;
            let pid = client.query_typed("SELECT pg_backend_pid()", &[]);
            let pid = pid.await.map_err(&failed)?;
            let pid = pid.first().map(|row| row.try_get(0)).transpose();
            own.set(pid.map_err(&failed)?);
            notify_at(database, notify).await?;
            if timeout(HEARING, &mut hears).await.is_err() {
                // However slow it is: a session that listens is told of what was notified
                // before it is answered. One that a pooler lends for each transaction is
                // asked too late.
                client.batch_execute("").await.map_err(&failed)?;
                hears.try_recv().ok().flatten().ok_or(Error::Deaf {
                    database: address.to_string(),
                    notified: database.to_string(),
                })?;
            }
            while rings.next().await.is_some() {
                client.batch_execute(notify).await.map_err(&failed)?;
            }
            Ok(())
        };
        select(pin!(hear), pin!(ring)).await.factor_first().0
    };
    runtime.map_err(Error::Runtime)?.block_on(session)
}

/// In a session of its own.
async fn notify_at(database: &Address, notify: &str) -> Result<(), Error> {
    let (config, tls) = database.listening()?;
    let (client, connection) = config.connect(tls).await.map_err(database.failed())?;
    // It ends with the client.
    tokio::spawn(connection);
    let limit = database.timeout();
    let notified = timeout(limit, client.batch_execute(notify)).await;
    let notified = notified.map_err(|_over| Error::Silent {
        database: database.to_string(),
        limit,
    });
    notified?.map_err(database.failed())
}
