// Package api serves Alertmanager's API, version 2, for the alarms of an app: amtool, and dashboards made for Alertmanager, work against it.
// Beside it there are acknowledgements, and explanations.
//
//	server, err := api.New(ctx, api.Config{Client: client, Conn: nc, Topology: topology, Notify: cfg, Alerts: posted})
//	...
//	err = server.Serve(ctx, listener)
//
// A Server is no part of the app: it asks the app's instances, which run with processor.Config.Queries, and edits the bucket that package
// silencebucket brings to them. So there may be several of them, in any process.
//
//	GET, POST         /api/v2/alerts                      filter, receiver, active, silenced, inhibited, muted, unprocessed
//	GET               /api/v2/alerts/groups               the same
//	GET, POST         /api/v2/silences                    filter
//	GET, DELETE       /api/v2/silence/{id}
//	GET               /api/v2/status, /api/v2/receivers
//	GET               /-/healthy, /-/ready                ready: the app answers
//	GET, POST         /api/rossby/v1/acknowledgements     {"fingerprint" or "matchers", "owner", "comment", "expiresAt"}
//	GET, DELETE       /api/rossby/v1/acknowledgements/{id}
//	GET               /api/rossby/v1/explain              ?fingerprint=, or ?rule=&key=&label=name%3Dvalue; as text with &format=text
//
// # Guarantees
//
//   - What is said of an alert is computed by the app's own dispatcher, of what the app has committed (notify.Inquiry). The headers
//     Rossby-As-Of and Rossby-Generation say of when it is: answers are up to Config.MaxAge old.
//   - An edit of a silence that was answered with 200 is in the bucket, and no edit undoes another that it has not seen. The app acts on it
//     as soon as the bucket's feed has brought it there.
//   - Of alerts that are posted together, those that are valid are taken when 200 or 400 is answered, and each that is not is named.
//
// # Departures from Alertmanager
//
//   - Of an alert that is sent again with an earlier end, the later word counts, also if the former end was no timeout.
//   - The end of an alarm that fires, for which there is none, is said to be resolve_timeout from now.
//   - Silences may have IDs that are no UUIDs, those of the bucket.
//   - An alert's status names acknowledgements (acknowledgedBy). They do not make it suppressed.
//   - There are no annotations of silences, and no peers: the cluster is said to be disabled.
//
// # Security
//
// Who reaches the address may silence all alarms. Keep it on the loopback, or set Access and TLS. Requests that write need the content type
// application/json, so that a web page elsewhere cannot make them.
package api
