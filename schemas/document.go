package schemas

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDepth bounds how deeply a document may be nested.
	maxDepth = 128
	// maxExponent bounds the exponents of numbers: a validator that computes exactly would need as many digits.
	maxExponent = 400
	// maxDigits bounds the length of numbers: exact arithmetic takes the square of it.
	maxDigits = 1000
)

// reader is a decoder to be used again.
type reader struct {
	buf bytes.Buffer
	dec jsontext.Decoder
}

// reset makes it read data, in place.
func (r *reader) reset(data []byte) *jsontext.Decoder {
	r.buf = *bytes.NewBuffer(data)
	r.dec.Reset(&r.buf)
	return &r.dec
}

// parseDocument decodes a document into what the validator takes: maps, slices, strings, numbers as they were written.
func parseDocument(data []byte) (any, error) { return new(reader).parse(data) }

func (r *reader) parse(data []byte) (any, error) {
	d := r.reset(data)
	v, err := parseValue(d)
	if err != nil {
		return nil, describe(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the end of the document")
	}
	return v, nil
}

func describe(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Errorf("not JSON at byte %d: %s", syntax.ByteOffset, strings.TrimPrefix(syntax.Err.Error(), "jsontext: "))
	}
	if errors.Is(err, io.EOF) {
		return errors.New("not JSON: it is empty")
	}
	return err
}

func parseValue(d *jsontext.Decoder) (any, error) {
	if d.StackDepth() > maxDepth {
		return nil, fmt.Errorf("nested deeper than %d levels at byte %d", maxDepth, d.InputOffset())
	}
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return parseNumber(token.String())
	case '{':
		return parseObject(d)
	default:
		return parseArray(d)
	}
}

func parseObject(d *jsontext.Decoder) (any, error) {
	object := make(map[string]any)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = parseValue(d); err != nil {
			return nil, err
		}
	}
	_, err := d.ReadToken()
	return object, err
}

func parseArray(d *jsontext.Decoder) (any, error) {
	array := []any{}
	for d.PeekKind() != ']' {
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		array = append(array, v)
	}
	_, err := d.ReadToken()
	return array, err
}

// parseNumber keeps a number as it was written, if a float64 can hold something like it.
func parseNumber(s string) (any, error) {
	if len(s) > maxDigits {
		return nil, fmt.Errorf("the number %.40s... has more than %d digits", s, maxDigits)
	}
	if _, err := strconv.ParseFloat(s, 64); err != nil {
		return nil, fmt.Errorf("the number %.40s is too large", s)
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if exponent, err := strconv.Atoi(s[i+1:]); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return nil, fmt.Errorf("the number %.40s has too large an exponent", s)
		}
	}
	return stdjson.Number(s), nil
}
