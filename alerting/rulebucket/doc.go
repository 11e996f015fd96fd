// Package rulebucket brings rules from a key-value bucket to a running app.
//
//	feed, err := rulebucket.Open(ctx, nc, client, rulebucket.Config[Incident]{Topic: changes, Read: read})
//	...
//	go feed.Run(ctx) // beside App.Run; whoever starts it waits for it
//
// where changes is a topic of alerting.RuleChanges that alerting.ThresholdLive takes, and read that of its Live. Rules are then edited with
// any NATS client; the key is the name of the rule, the value its text, as rulesfile.ParseRule reads it:
//
//	nats kv put rules HighCPU '{"metric":"cpu_percent","above":80,"for":"2m"}'
//	nats kv get rules-status HighCPU      # in force, or refused, and why
//	nats kv del rules HighCPU
//
// # Guarantees
//
//   - A text is read before it is published. One that cannot be is refused: the status says so, the logger is told, and the rule that
//     was in force stays so, over restarts too.
//   - A change reaches every partition or is published again at the next Open; changes that were made while nothing ran are found then,
//     deletions too. Each is published once or more, and tasks take it once.
//   - Several instances may feed one topic: changes carry the revisions of the bucket.
//
// # Caveats
//
//   - The topic has no limits: it keeps every change, so that a replay changes rules where life did.
//   - A status tells what has been published. A task takes it when it comes to it.
package rulebucket
