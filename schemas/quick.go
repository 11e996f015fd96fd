package schemas

import (
	"bytes"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v5"
)

// plan gives a quick yes: it reads a document once, allocates nothing, and says yes only when the library would. When it does not
// say yes, nothing is known yet and the library decides; so it may be ignorant of rare things, but never generous. A nil plan
// accepts anything that parseDocument does.
type plan struct {
	// kinds are the JSON kinds it takes, as jsontext has them; empty is all.
	kinds []jsontext.Kind
	// members are the properties that it knows by name.
	members []member
	// required has the bit of each member that must be there.
	required uint64
	// closed refuses members that it does not know.
	closed bool
	// minLength and maxLength bound the characters of a string; -1 is no bound.
	minLength, maxLength int
	// enum are the strings that it takes, nothing else; nil is no such rule.
	enum []string
	// dateTime wants strings to be times.
	dateTime bool
}

type member struct {
	name  string
	value *plan
}

// maxMembers is how many bits plan.required has.
const maxMembers = 64

// neutral are the fields of a compiled schema that make no rule, and planned are those that a plan knows. A schema that sets any
// other one has no plan: a keyword that the library learns later is safe.
var (
	neutral = []string{
		"Location", "Draft", "Title", "Description", "Default", "Comment", "ReadOnly", "WriteOnly", "Examples", "Deprecated", "Extensions",
	}
	planned = []string{"Types", "Enum", "Format", "MinLength", "MaxLength", "Properties", "Required", "AdditionalProperties"}
)

// planFor gives the plan of a schema, and false if it has rules that plans do not know. bare is a schema without rules.
func planFor(s, bare *jsonschema.Schema) (*plan, bool) {
	if s.Always != nil {
		return nil, *s.Always
	}
	got, none := reflect.ValueOf(s).Elem(), reflect.ValueOf(bare).Elem()
	for i := range got.NumField() {
		field := got.Type().Field(i)
		if !field.IsExported() || slices.Contains(neutral, field.Name) || slices.Contains(planned, field.Name) {
			continue
		}
		if !reflect.DeepEqual(got.Field(i).Interface(), none.Field(i).Interface()) {
			return nil, false
		}
	}
	p := &plan{minLength: s.MinLength, maxLength: s.MaxLength}
	if !p.takeKinds(s.Types) || !p.takeEnum(s.Enum) || !p.takeMembers(s, bare) {
		return nil, false
	}
	switch s.Format {
	case "":
	case "date-time":
		p.dateTime = true
	default:
		return nil, false
	}
	switch extra := s.AdditionalProperties.(type) {
	case nil:
	case bool:
		p.closed = !extra
	default:
		return nil, false
	}
	return p, true
}

func (p *plan) takeKinds(types []string) bool {
	for _, t := range types {
		switch t {
		case "object":
			p.kinds = append(p.kinds, '{')
		case "array":
			p.kinds = append(p.kinds, '[')
		case "string":
			p.kinds = append(p.kinds, '"')
		case "number":
			p.kinds = append(p.kinds, '0')
		case "boolean":
			p.kinds = append(p.kinds, 't', 'f')
		case "null":
			p.kinds = append(p.kinds, 'n')
		default: // "integer" takes 1.0 as well, which is no matter of kinds
			return false
		}
	}
	return true
}

func (p *plan) takeEnum(values []any) bool {
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			return false
		}
		p.enum = append(p.enum, s)
	}
	return true
}

func (p *plan) takeMembers(s, bare *jsonschema.Schema) bool {
	for name, value := range s.Properties {
		sub, ok := planFor(value, bare)
		if !ok {
			return false
		}
		p.members = append(p.members, member{name, sub})
	}
	for _, name := range s.Required {
		i := p.find([]byte(name))
		if i < 0 {
			if s.AdditionalProperties != nil {
				return false // it must be there and is additional: rare, and the library's business
			}
			i = len(p.members)
			p.members = append(p.members, member{name: name})
		}
		if i < maxMembers {
			p.required |= 1 << i
		}
	}
	return len(p.members) <= maxMembers
}

func (p *plan) find(name []byte) int {
	for i := range p.members {
		if p.members[i].name == string(name) {
			return i
		}
	}
	return -1
}

// accepts reads one value and says yes, or does not know.
func (p *plan) accepts(d *jsontext.Decoder) bool {
	kind := d.PeekKind()
	if p != nil && (p.kinds != nil && !slices.Contains(p.kinds, kind) || p.enum != nil && kind != '"') {
		return false
	}
	switch kind {
	case '{':
		return p.acceptsObject(d)
	case '[':
		return acceptsArray(d)
	case '"':
		raw, err := d.ReadValue()
		return err == nil && (p == nil || p.acceptsString(raw[1:len(raw)-1]))
	case '0':
		raw, err := d.ReadValue()
		return err == nil && isPlainNumber(raw)
	default:
		_, err := d.ReadToken()
		return err == nil
	}
}

func (p *plan) acceptsObject(d *jsontext.Decoder) bool {
	if d.StackDepth() >= maxDepth {
		return false
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	var seen uint64
	for d.PeekKind() != '}' {
		raw, err := d.ReadValue()
		if err != nil || len(raw) < 2 || raw[0] != '"' || hasEscapes(raw) {
			return false
		}
		var value *plan
		if p != nil {
			i := p.find(raw[1 : len(raw)-1])
			switch {
			case i >= 0:
				value = p.members[i].value
				seen |= 1 << i
			case p.closed:
				return false
			}
		}
		if !value.accepts(d) {
			return false
		}
	}
	_, err := d.ReadToken()
	return err == nil && (p == nil || seen&p.required == p.required)
}

func acceptsArray(d *jsontext.Decoder) bool {
	if d.StackDepth() >= maxDepth {
		return false
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	var anything *plan
	for d.PeekKind() != ']' {
		if !anything.accepts(d) {
			return false
		}
	}
	_, err := d.ReadToken()
	return err == nil
}

// acceptsString judges what stands between the quotes.
func (p *plan) acceptsString(raw []byte) bool {
	escaped := hasEscapes(raw)
	if escaped && (p.dateTime || p.enum != nil) {
		return false
	}
	if p.dateTime && !isPlainTime(raw) {
		return false
	}
	if p.enum != nil && !slices.ContainsFunc(p.enum, func(s string) bool { return s == string(raw) }) {
		return false
	}
	// Bytes are at least as many as characters, escaped or not; and where there is a byte, there is a character.
	if p.maxLength >= 0 && len(raw) > p.maxLength && (escaped || utf8.RuneCount(raw) > p.maxLength) {
		return false
	}
	return p.minLength <= 0 || p.minLength == 1 && len(raw) > 0 || !escaped && utf8.RuneCount(raw) >= p.minLength
}

func hasEscapes(raw []byte) bool { return bytes.IndexByte(raw, '\\') >= 0 }

// isPlainNumber says yes to numbers that are neither long nor written with an exponent.
func isPlainNumber(raw []byte) bool {
	const enough = 32 // digits: more than any float64 needs
	return len(raw) <= enough && !bytes.ContainsAny(raw, "eE")
}

// isPlainTime says yes to times as machines write them: 2026-03-01T12:00:00, a fraction, Z or an offset.
func isPlainTime(b []byte) bool {
	if len(b) < len("2006-01-02T15:04:05Z") || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return false
	}
	month, day := digits(b[5:7]), digits(b[8:10])
	if digits(b[0:2]) < 0 || digits(b[2:4]) < 0 || month < 1 || month > 12 || day < 1 {
		return false
	}
	if day > 28 && (month == 2 || day > 31 || day == 31 && (month == 4 || month == 6 || month == 9 || month == 11)) {
		return false // 29 February is the library's business
	}
	if !below(b[11:13], 24) || !below(b[14:16], 60) || !below(b[17:19], 60) {
		return false
	}
	rest := b[19:]
	if rest[0] == '.' {
		n := 1
		for n < len(rest) && '0' <= rest[n] && rest[n] <= '9' {
			n++
		}
		if n == 1 {
			return false
		}
		rest = rest[n:]
	}
	if len(rest) == 1 {
		return rest[0] == 'Z'
	}
	return len(rest) == len("+07:00") && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':' && below(rest[1:3], 24) && below(rest[4:6], 60)
}

func below(b []byte, limit int) bool {
	n := digits(b)
	return n >= 0 && n < limit
}

// digits is the value of two decimal digits, -1 if they are none.
func digits(b []byte) int {
	if b[0] < '0' || b[0] > '9' || b[1] < '0' || b[1] > '9' {
		return -1
	}
	return int(b[0]-'0')*10 + int(b[1]-'0')
}
