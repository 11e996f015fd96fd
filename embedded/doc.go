// Package embedded runs a NATS server with JetStream inside the process: one
// server, or a cluster of real servers on the loopback interface. It is the
// only package of Rossby that imports nats-server; everything else meets the
// server through a *nats.Conn.
//
// # Vocabulary
//
//   - Server: one nats-server with JetStream in this process.
//   - Cluster: several servers joined by routes on 127.0.0.1, with clustered
//     JetStream; streams in it may have replicas.
//   - In-process connection: a connection that Connect makes through memory.
//     It needs no port and crosses no network.
//   - Directory: where JetStream keeps its files. Exactly one server at a time
//     may use it; a lock on the file rossby.lock inside it sees to that.
//
// # Guarantees
//
//   - A server that Start returned is ready: its connections are accepted and
//     JetStream answers. A cluster that StartCluster returned has a leader,
//     knows all its peers, and all of them are current.
//   - The zero Config listens on no port at all. With a port, only 127.0.0.1
//     is bound unless Config.Host says otherwise.
//   - Stop waits until the server is down and its files are closed. It may be
//     called several times, from several goroutines.
//   - What the server has acknowledged into file storage survives SIGKILL of
//     the process: writes reach the operating system before the
//     acknowledgement leaves. (Cluster replicas write a little later, but then
//     other replicas hold the record.)
//   - The lock on the directory is the operating system's and vanishes with
//     the process, however it ends.
//
// # Caveats
//
//   - Files are synced to the disk every two minutes, JetStream's default: the
//     loss of power of the whole machine can cost what is younger. Use
//     Config.SyncAlways, or replicas on other machines, where this matters.
//   - With an empty Config.Dir JetStream keeps its files in a fresh temporary
//     directory that Stop removes; SIGKILL leaves it behind.
//   - A server that shares the process shares its fate: its memory, its
//     processor time and its end.
package embedded
