// Package receivers tells people and programs of notifications. What it makes is for notify.Target.Send.
//
//	hook := &receivers.Webhook{HTTP: receivers.HTTP{URL: receivers.Env("HOOK_URL")}}
//	notify.Deliver(b, told, notify.Target{Receiver: "ops", Send: hook.Send})
//
// # Guarantees
//
//   - A notification that comes again has the same idempotency key: the header Idempotency-Key over HTTP, Nats-Msg-Id on a subject.
//   - What will not be better the next time is a notify.ErrRefused: an answer of HTTP with 4xx, but for 408 and 429.
//   - A receiver that asks for a pause with Retry-After is left alone for so long, up to a minute.
//   - A Secret shows in no log, no error and no encoding. It is read each time, so that one that was changed is found.
//   - A Template that fails costs nobody a notification: there are words without it.
//   - What is too large loses the contexts of alerts first, then alerts, and says how many; never the identity of the group.
package receivers
