// Package orders shows Go types that are made from a JSON Schema: order.json is what its owner writes, order.go is made of it by
// go generate.
//
// # Guarantees
//
//   - Every document that order.json accepts survives the way into an Order and back.
//   - An Order made of valid parts is a valid document; what is not is refused by the codec at the edge (schemas.NewCodec,
//     registry.CodecFor), where values become bytes.
//
// # Caveats
//
//   - The types do not validate: a pattern or a maximum is the codec's to check.
package orders

//go:generate go run github.com/atombender/go-jsonschema@v0.20.0 --only-models --tags json --struct-name-from-title --package orders --output order.go order.json
