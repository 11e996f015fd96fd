package stream

import (
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// Codec turns values into the bytes of a message and back. Implementations must
// be safe for use by several goroutines.
type Codec[V any] interface {
	// Encode gives the bytes of v. The caller may keep them.
	Encode(v V) ([]byte, error)
	// Decode gives the value of data. It must not change data; the value may share
	// its memory, which nobody else changes.
	Decode(data []byte) (V, error)
}

// JSON is the codec of topics that name none. It is strict where encoding/json
// is lax: invalid UTF-8 and duplicate names are refused, names match by exact
// case. A time.Duration is a number of nanoseconds, and omitempty means what it
// means there: a pointer to an empty value stays.
func JSON[V any]() Codec[V] { return jsonCodec[V]{} }

type jsonCodec[V any] struct{}

func (jsonCodec[V]) Encode(v V) ([]byte, error) {
	data, err := json.Marshal(v, jsonv1.FormatDurationAsNano(true), jsonv1.OmitEmptyWithLegacySemantics(true))
	if err != nil {
		return nil, fmt.Errorf("stream: encode JSON: %w", err)
	}
	return data, nil
}

func (jsonCodec[V]) Decode(data []byte) (V, error) {
	var v V
	if err := json.Unmarshal(data, &v, jsonv1.FormatDurationAsNano(true)); err != nil {
		var zero V
		return zero, fmt.Errorf("stream: decode JSON: %w", err)
	}
	return v, nil
}

// String is the codec of plain text. Bytes that are not UTF-8 do not decode.
func String() Codec[string] { return stringCodec{} }

type stringCodec struct{}

func (stringCodec) Encode(v string) ([]byte, error) { return []byte(v), nil }

func (stringCodec) Decode(data []byte) (string, error) {
	if !utf8.Valid(data) {
		return "", fmt.Errorf("stream: decode text: %d bytes are not valid UTF-8", len(data))
	}
	return string(data), nil
}

// Bytes is the codec that changes nothing. What Decode returns is the message's
// own memory: a copy is for those who change it, or keep a small part for long.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) ([]byte, error)    { return v, nil }
func (bytesCodec) Decode(data []byte) ([]byte, error) { return data, nil }
