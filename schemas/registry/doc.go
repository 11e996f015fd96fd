// Package registry keeps the versions of JSON Schemas in a bucket of NATS, refuses versions that would break readers or writers, and
// gives topics codecs that validate against them.
//
//	reg, err := registry.Open(ctx, js, registry.Config{Replicas: 3})
//	v, err := reg.Register(ctx, "metric", text) // version 1, or why not
//	err = reg.Tie(ctx, "metrics", "metric")
//	codec, err := registry.CodecFor[Metric](ctx, reg, "metrics", registry.Edge{})
//	topic := stream.Topic[Metric]{Name: "metrics", Codec: codec}
//
// # Vocabulary
//
//   - subject: a name under which versions of one schema are kept. Topics are tied to a subject; several may share one.
//   - version: 1, 2, 3 and so on; the text of a version never changes.
//   - compatibility: which pairs of versions must get on. Backward: readers with the new version take all that was written with
//     the old one. Forward: readers with the old one take all that is written with the new one. Full: both. Transitive: not only
//     with the latest version but with all.
//   - edge: where bytes become values or values bytes. Validation happens there.
//
// # Guarantees
//
//   - Versions are consecutive, whoever registers at the same time. Registering the same text again gives the version that it has.
//   - A version is registered only if schemas.Schema.AcceptsAllOf proves what the compatibility asks. What cannot be proved is refused,
//     and the error says which documents are the reason, with a JSON pointer, or what could not be decided.
//   - Nothing is lost: a deleted version stays readable by its number, and the number is not used again.
//   - No record carries its version, so that reading stays as fast as without a registry. A codec validates against one version,
//     and compatibility is what makes this enough. A record that does not fit is told with the versions that it would fit: MismatchError.
//
// # Caveats
//
//   - With None, or where retention is longer than the chain of non-transitive checks, old records may not fit: that is a MismatchError.
//   - A codec knows the versions that there were when it was made.
//   - Another schema in an old text (a different order of members, other descriptions) is another version.
//   - Dead letters are not the codec's: a decode error takes the way of the source's failure policy (processor.DeadLetter), an encode error
//     that of the sink's; producers get it from Send.
//   - The bucket has no rights of its own: who may write to it may change it by hand. Register, SetCompatibility and the rest of this
//     package never change a text.
package registry
