package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a file.
const (
	maxBytes = 1 << 20
	maxDepth = 10
)

// Parse reads a file. what says what an empty one should hold. The error is an *Error.
func Parse(data []byte, what string) (*Node, error) {
	if len(data) > maxBytes {
		return nil, &Error{Line: 1, Column: 1, Reason: "the file has " + strconv.Itoa(len(data)) + " bytes: at most 1 MiB is read"}
	}
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(trimmed) == 0:
		return nil, &Error{Line: 1, Column: 1, Reason: "the file is empty: it must hold " + what}
	case trimmed[0] == '{' || trimmed[0] == '[':
		return parseJSON(data)
	}
	return parseYAML(data, what)
}

// reader makes a tree of JSON's tokens.
type reader struct {
	data []byte
	dec  *jsontext.Decoder
	at   place
}

// place walks through a text and knows the line and column.
type place struct {
	offset       int
	line, column int
}

func parseJSON(data []byte) (*Node, error) {
	r := &reader{data: data, dec: jsontext.NewDecoder(bytes.NewReader(data)), at: place{line: 1, column: 1}}
	n := new(Node)
	if err := r.value(n, 0); err != nil {
		return nil, err
	}
	if rest := bytes.TrimLeft(data[r.dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		line, column := r.at.moveTo(data, len(data)-len(rest))
		c, _ := utf8.DecodeRune(rest)
		return nil, &Error{Line: line, Column: column, Reason: fmt.Sprintf("this is not JSON: invalid character %q after top-level value", c)}
	}
	return n, nil
}

// next reads a token, and says where it begins.
func (r *reader) next() (token jsontext.Token, line, column int, err error) {
	before := int(r.dec.InputOffset())
	token, err = r.dec.ReadToken()
	if err != nil {
		return token, 0, 0, r.failure(err)
	}
	for before < len(r.data) && strings.IndexByte(" \t\r\n,:", r.data[before]) >= 0 {
		before++
	}
	line, column = r.at.moveTo(r.data, before)
	return token, line, column, nil
}

// moveTo goes on to an offset, which is not before the last one.
func (p *place) moveTo(data []byte, offset int) (line, column int) {
	for p.offset < offset && p.offset < len(data) {
		c, size := utf8.DecodeRune(data[p.offset:])
		p.offset += size
		p.column++
		if c == '\n' {
			p.line, p.column = p.line+1, 1
		}
	}
	return p.line, p.column
}

// value reads a value. The place of an element or the root is where it begins, that of a member has been set.
func (r *reader) value(n *Node, depth int) error {
	token, line, column, err := r.next()
	if err != nil {
		return err
	}
	if n.Line == 0 {
		n.Line, n.Column = line, column
	}
	switch kind := token.Kind(); kind {
	case '{', '[':
		if depth == maxDepth {
			return n.Errorf("the file is nested more than %d levels deep", maxDepth)
		}
		if kind == '{' {
			return r.object(n, depth)
		}
		return r.array(n, depth)
	case '"':
		n.Kind, n.Text = String, token.String()
		if raw := r.data[:r.dec.InputOffset()]; bytes.HasSuffix(raw, []byte(`"`+n.Text+`"`)) {
			n.ValueLine, n.ValueColumn = line, column+1
		}
	case '0':
		n.Kind, n.Text = Number, token.String()
	case 't', 'f':
		n.Kind, n.Text = Bool, token.String()
	default:
		return n.Errorf("the value is null: give a value or leave the field out")
	}
	return nil
}

func (r *reader) object(n *Node, depth int) error {
	n.Kind = Object
	for r.dec.PeekKind() != '}' {
		token, line, column, err := r.next()
		if err != nil {
			return err
		}
		name := token.String()
		member := &Node{Pointer: n.Pointer + "/" + escape(name), Line: line, Column: column}
		if err := r.value(member, depth+1); err != nil {
			return err
		}
		n.Names, n.Items = append(n.Names, name), append(n.Items, member)
	}
	_, _, _, err := r.next()
	return err
}

func (r *reader) array(n *Node, depth int) error {
	n.Kind = Array
	for r.dec.PeekKind() != ']' {
		item := &Node{Pointer: n.Pointer + "/" + strconv.Itoa(len(n.Items))}
		if err := r.value(item, depth+1); err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, _, _, err := r.next()
	return err
}

func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// failure is what the decoder says, in words of people.
func (r *reader) failure(err error) error {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		line, column := r.at.moveTo(r.data, int(r.dec.InputOffset()))
		return &Error{Line: line, Column: column, Reason: "this is not JSON: the file ends too early"}
	}
	line, column := r.at.moveTo(r.data, int(syntax.ByteOffset))
	if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
		return &Error{Line: line, Column: column, Field: string(syntax.JSONPointer), Reason: "the field is given twice: keep one"}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &Error{Line: line, Column: column, Reason: "this is not JSON: the file ends too early"}
	}
	return &Error{Line: line, Column: column, Reason: "this is not JSON: " + strings.TrimPrefix(syntax.Err.Error(), "jsontext: ")}
}
