package health

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rossby-streams/rossby/schemas"
)

// maxRulesDepth is the depth of the deepest value of a rules file: of /rules/0/context/within.
const maxRulesDepth = 4

// The rules file as it stands in JSON. Pointers tell "left out" from zero.
type (
	wireRules struct {
		Schema string      `json:"$schema"` // for editors
		Rules  *[]wireRule `json:"rules"`
	}
	wireRule struct {
		Name     string            `json:"name"`
		Metric   string            `json:"metric"`
		Above    *float64          `json:"above"`
		Below    *float64          `json:"below"`
		Clear    *float64          `json:"clear"`
		For      *string           `json:"for"`
		Severity *string           `json:"severity"`
		Labels   map[string]string `json:"labels"`
		Context  *wireContext      `json:"context"`
	}
	wireContext struct {
		Within   *string `json:"within"`
		MaxLines *int    `json:"max_lines"`
	}
)

// decodeRules decodes strictly: a typo in a field name is an error.
func decodeRules(data []byte) (wireRules, error) {
	var file wireRules
	err := json.Unmarshal(data, &file, json.RejectUnknownMembers(true))
	if err == nil {
		return file, checkNulls(data)
	}
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return file, rulesError(data, "", `the file is empty: it must hold {"rules":[...]}`)
	case errors.As(err, &syntax):
		line, column := lineColumn(data, syntax.ByteOffset)
		reason := "this is not JSON: " + strings.TrimPrefix(syntax.Err.Error(), "jsontext: ")
		if errors.Is(syntax.Err, jsontext.ErrDuplicateName) {
			reason = "the field is given twice: keep one"
			return file, rulesError(data, syntax.JSONPointer, reason)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			reason = "this is not JSON: the file ends too early"
		}
		return file, &RulesError{Line: line, Column: column, Reason: reason}
	case errors.As(err, &semantic):
		return file, rulesError(data, semantic.JSONPointer, semanticReason(semantic))
	}
	return file, rulesError(data, "", err.Error())
}

// checkNulls refuses null, which would otherwise pass for "left out" and hide a value that somebody forgot to fill in.
func checkNulls(data []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return rulesError(data, "", err.Error())
		}
		if token.Kind() == 'n' {
			return rulesError(data, dec.StackPointer(), "the value is null: give a value or leave the field out")
		}
	}
}

// checkSchema validates the text against schemas/rules.json.
func checkSchema(data []byte) error {
	schema, err := schemas.Builtin("rules")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRules, err)
	}
	err = schema.Validate(data)
	var invalid *schemas.ValidationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &invalid) && len(invalid.Breaches) > 0:
		breach := invalid.Breaches[0]
		return rulesError(data, jsontext.Pointer(breach.Field), breach.Message)
	}
	return rulesError(data, "", err.Error())
}

// semanticReason says in words of the file, and not of Go, why a value does not fit.
func semanticReason(err *json.SemanticError) string {
	if errors.Is(err, json.ErrUnknownName) {
		known := "name, metric, above, below, clear, for, severity, labels, context"
		pointer := string(err.JSONPointer)
		switch {
		case strings.Count(pointer, "/") == 1:
			known = "rules, $schema"
		case strings.Contains(pointer, "/context/"):
			known = "within, max_lines"
		}
		return "there is no such field; known here: " + known
	}
	want := "a value of another kind"
	if err.GoType != nil {
		switch strings.TrimLeft(err.GoType.String(), "*") {
		case "string":
			want = "a string"
		case "float64":
			want = "a finite number"
		case "int":
			want = "a whole number"
		case "map[string]string":
			want = "an object of strings"
		case "health.wireRule", "health.wireContext", "health.wireRules":
			want = "an object"
		case "[]health.wireRule":
			want = "an array of rules"
		}
	}
	return fmt.Sprintf("must be %s, not %s", want, kindName(err.JSONKind))
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a string"
	case '0':
		return "such a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return "this"
}

// rulesError places a reason: at the field that pointer names, or at the nearest one around it that the file has.
func rulesError(data []byte, pointer jsontext.Pointer, reason string) *RulesError {
	line, column := lineColumn(data, locate(data, pointer))
	return &RulesError{Line: line, Column: column, Field: string(pointer), Reason: reason}
}

// locate returns the offset at which the member or element that pointer names begins.
func locate(data []byte, pointer jsontext.Pointer) int64 {
	dec := jsontext.NewDecoder(bytes.NewReader(data))
	best, bestLen := int64(0), -1
	for {
		before := dec.InputOffset()
		if _, err := dec.ReadToken(); err != nil {
			return best
		}
		if dec.StackDepth() > maxRulesDepth {
			continue // the pointer of a deep place is long, and no field of ours is there
		}
		// The pointer of an object's name is the pointer of its value too: the first hit is where the member begins.
		at := dec.StackPointer()
		if len(at) > bestLen && at.Contains(pointer) {
			rest := bytes.TrimLeft(data[before:], " \t\r\n,:")
			best, bestLen = int64(len(data)-len(rest)), len(at)
		}
	}
}

// lineColumn turns a byte offset into a line and a column, both from 1.
func lineColumn(data []byte, offset int64) (line, column int) {
	before := data[:min(max(offset, 0), int64(len(data)))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
