package schemas

import (
	"fmt"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// ValidatingCodec turns values into JSON and back, and refuses what does not fit its schema, both ways. It is a stream.Codec.
type ValidatingCodec[V any] struct {
	schema *Schema
}

// Codec returns the codec that validates against s.
func Codec[V any](s *Schema) ValidatingCodec[V] { return ValidatingCodec[V]{schema: s} }

// Encode returns v as JSON. The error says which field broke which rule.
func (c ValidatingCodec[V]) Encode(v V) ([]byte, error) {
	data, err := json.Marshal(v, jsonv1.FormatDurationAsNano(true), jsonv1.OmitEmptyWithLegacySemantics(true))
	if err != nil {
		return nil, fmt.Errorf("schemas: encode a %s: %w", c.schema.name, err)
	}
	if err := c.schema.Validate(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Decode returns the value that data holds. The error says which field broke which rule.
func (c ValidatingCodec[V]) Decode(data []byte) (V, error) {
	var v V
	if err := c.schema.Validate(data); err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v, jsonv1.FormatDurationAsNano(true)); err != nil {
		var none V
		return none, fmt.Errorf("schemas: decode a %s: %w", c.schema.name, err)
	}
	return v, nil
}
