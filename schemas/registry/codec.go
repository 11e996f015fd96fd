package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/rossby-streams/rossby/schemas"
)

// Edge says how a codec validates. The zero value is strict, with the latest version.
type Edge struct {
	// Version is the version to validate against. 0: the latest when the codec is made.
	Version int
	// Sample validates one record in Sample, the first one first, and takes the others as they are. 0 or 1: all of them.
	Sample int
}

// Codec turns values into JSON and back and refuses what does not fit a version of a subject, both ways. It is a stream.Codec, safe for
// use by several goroutines.
type Codec[V any] struct {
	subject string
	version int
	schema  *schemas.Schema
	others  []other // latest first
	sample  uint64
	seen    *[2]atomic.Uint64 // records encoded and decoded
}

type other struct {
	number int
	schema *schemas.Schema
}

// maxOthers bounds how many versions are tried to say which one a refused record fits.
const maxOthers = 16

// CodecFor makes the codec of a topic that is tied to a subject. It asks the registry once. The error is a *NotFoundError where the topic
// is tied to no subject, or the subject has no such version, or a deleted one only.
func CodecFor[V any](ctx context.Context, r *Registry, topic string, edge Edge) (*Codec[V], error) {
	if edge.Sample < 0 {
		return nil, fmt.Errorf("registry: Edge.Sample is %d: say validate one in how many, or 0 for all", edge.Sample)
	}
	subject, err := r.SubjectOf(ctx, topic)
	if err != nil {
		return nil, err
	}
	state, err := r.state(ctx, subject)
	if err != nil {
		return nil, err
	}
	mine, ok := state.find(edge.Version)
	if !ok {
		return nil, &NotFoundError{Subject: subject, Version: edge.Version}
	}
	c := &Codec[V]{subject: subject, version: mine.Number, sample: uint64(max(edge.Sample, 1)), seen: new([2]atomic.Uint64)}
	if c.schema, err = r.schema(ctx, subject, mine); err != nil {
		return nil, err
	}
	for _, e := range slices.Backward(state.Versions) {
		if e.Number == mine.Number || len(c.others) == maxOthers {
			continue
		}
		s, err := r.schema(ctx, subject, e)
		if err != nil {
			return nil, err
		}
		c.others = append(c.others, other{e.Number, s})
	}
	return c, nil
}

// Subject is the subject that the codec validates against.
func (c *Codec[V]) Subject() string { return c.subject }

// Version is the number of the version that the codec validates against.
func (c *Codec[V]) Version() int { return c.version }

// Encode returns v as JSON. The error is a *MismatchError where it does not fit.
func (c *Codec[V]) Encode(v V) ([]byte, error) {
	data, err := json.Marshal(v, jsonv1.FormatDurationAsNano(true), jsonv1.OmitEmptyWithLegacySemantics(true))
	if err != nil {
		return nil, fmt.Errorf("registry: encode a value of subject %q: %w", c.subject, err)
	}
	if err := c.check(data, &c.seen[0]); err != nil {
		return nil, err
	}
	return data, nil
}

// Decode returns the value that data holds. The error is a *MismatchError where it does not fit.
func (c *Codec[V]) Decode(data []byte) (V, error) {
	var v V
	if err := c.check(data, &c.seen[1]); err != nil {
		return v, err
	}
	if err := json.Unmarshal(data, &v, jsonv1.FormatDurationAsNano(true)); err != nil {
		var none V
		return none, fmt.Errorf("registry: decode a value of subject %q: %w", c.subject, err)
	}
	return v, nil
}

// check validates if it is this record's turn.
func (c *Codec[V]) check(data []byte, seen *atomic.Uint64) error {
	if c.sample > 1 && (seen.Add(1)-1)%c.sample != 0 {
		return nil
	}
	err := c.schema.Validate(data)
	if err == nil {
		return nil
	}
	mismatch := &MismatchError{Subject: c.subject, Version: c.version, Err: err}
	var invalid *schemas.ValidationError
	if !errors.As(err, &invalid) {
		return mismatch // no JSON under any version
	}
	for _, o := range c.others {
		if o.schema.Validate(data) == nil {
			mismatch.Fits = append(mismatch.Fits, o.number)
		}
	}
	return mismatch
}
