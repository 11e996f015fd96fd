package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Op is how a matcher compares.
type Op string

// The ways to compare. A pattern is anchored at both ends.
const (
	Equal      Op = "="
	NotEqual   Op = "!="
	Matches    Op = "=~"
	NotMatches Op = "!~"
)

// Matcher is a condition on one label. A label that is missing is empty. Make one with NewMatcher or Parse.
type Matcher struct {
	name, value string
	op          Op
	re          *regexp.Regexp
}

// maxMatcherBytes bounds the value of a matcher; matching costs at most the product of the lengths of pattern and label.
const maxMatcherBytes = 4 << 10

// NewMatcher returns a matcher. The error says what is wrong with its pattern.
func NewMatcher(name string, op Op, value string) (Matcher, error) {
	m := Matcher{name: name, value: value, op: op}
	switch {
	case name == "":
		return m, fmt.Errorf("a matcher needs the name of a label")
	case len(name)+len(value) > maxMatcherBytes:
		return m, fmt.Errorf("the matcher of %.20s has %d bytes: at most %d are taken", name, len(name)+len(value), maxMatcherBytes)
	case !utf8.ValidString(name) || !utf8.ValidString(value):
		return m, fmt.Errorf("the matcher of %q is not UTF-8", name)
	}
	switch op {
	case Equal, NotEqual:
		return m, nil
	case Matches, NotMatches:
		re, err := regexp.Compile("^(?:" + value + ")$")
		if err != nil {
			return m, fmt.Errorf("the pattern of %s: %w", name, err)
		}
		m.re = re
		return m, nil
	}
	return m, fmt.Errorf("%q does not compare: use =, !=, =~ or !~", op)
}

// Name is that of the label.
func (m Matcher) Name() string { return m.name }

// Value is what the label is compared with.
func (m Matcher) Value() string { return m.value }

// Match reports whether labels fulfil the matcher.
func (m Matcher) Match(labels map[string]string) bool { return m.matches(labels[m.name]) }

func (m Matcher) matches(value string) bool {
	switch m.op {
	case Equal:
		return value == m.value
	case NotEqual:
		return value != m.value
	case Matches:
		return m.re.MatchString(value)
	case NotMatches:
		return !m.re.MatchString(value)
	}
	return false // the zero Matcher matches nothing
}

var escapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// String returns the matcher as Parse reads it.
func (m Matcher) String() string {
	name := m.name
	if strings.IndexFunc(name, special) >= 0 {
		name = `"` + escapes.Replace(name) + `"`
	}
	return name + string(m.op) + `"` + escapes.Replace(m.value) + `"`
}

// matcherJSON is a matcher as Alertmanager's API has it.
type matcherJSON struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual *bool  `json:"isEqual"` // true if it is left out
}

// MarshalJSON gives the matcher the form of Alertmanager's API.
func (m Matcher) MarshalJSON() ([]byte, error) {
	equal := m.op == Equal || m.op == Matches
	return json.Marshal(matcherJSON{m.name, m.value, m.re != nil, &equal})
}

// UnmarshalJSON reads the form of Alertmanager's API.
func (m *Matcher) UnmarshalJSON(data []byte) error {
	var j matcherJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	equal := j.IsEqual == nil || *j.IsEqual
	op := map[[2]bool]Op{{false, true}: Equal, {false, false}: NotEqual, {true, true}: Matches, {true, false}: NotMatches}[[2]bool{j.IsRegex, equal}]
	read, err := NewMatcher(j.Name, op, j.Value)
	if err == nil {
		*m = read
	}
	return err
}

// Matchers are conditions that must all hold. None of them holds always.
type Matchers []Matcher

// Match reports whether labels fulfil all of them.
func (ms Matchers) Match(labels map[string]string) bool {
	for i := range ms {
		if !ms[i].Match(labels) {
			return false
		}
	}
	return true
}

// String returns them in braces, as Parse reads them.
func (ms Matchers) String() string {
	texts := make([]string, len(ms))
	for i, m := range ms {
		texts[i] = m.String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// sorted returns them in Alertmanager's order: by name, value, operator.
func (ms Matchers) sorted() Matchers {
	order := map[Op]int{Equal: 0, NotEqual: 1, Matches: 2, NotMatches: 3}
	s := slices.Clone(ms)
	slices.SortStableFunc(s, func(a, b Matcher) int {
		return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value), order[a.op]-order[b.op])
	})
	return s
}

// Parse reads matchers as Alertmanager writes them: {severity="critical",team=~"web|db"}. Braces, and quotes around what holds none
// of the characters {}!=~,\"'` and no space, may be left out.
func Parse(text string) (Matchers, error) {
	p := &matcherReader{text: text}
	ms, err := p.all()
	if err != nil {
		return nil, fmt.Errorf("matchers, column %d: %w", p.at+1, err)
	}
	return ms, nil
}

const maxMatchers = 100

// matcherReader reads from left to right.
type matcherReader struct {
	text string
	at   int
}

func (p *matcherReader) all() (Matchers, error) {
	if len(p.text) > maxMatchers*maxMatcherBytes {
		return nil, fmt.Errorf("there are %d bytes: at most %d are taken", len(p.text), maxMatchers*maxMatcherBytes)
	}
	open := p.token("{")
	var ms Matchers
	for !p.ended(open) {
		if len(ms) > 0 && !p.token(",") {
			return nil, fmt.Errorf("a comma or the end is missing here")
		}
		if p.ended(open) {
			break
		}
		m, err := p.one()
		if err != nil {
			return nil, err
		}
		if ms = append(ms, m); len(ms) > maxMatchers {
			return nil, fmt.Errorf("there are more than %d matchers", maxMatchers)
		}
	}
	if open && !p.token("}") {
		return nil, fmt.Errorf("a } is missing here")
	}
	if p.skip(); p.at < len(p.text) {
		return nil, fmt.Errorf("nothing more is expected here")
	}
	return ms, nil
}

func (p *matcherReader) skip() {
	p.at += len(p.text[p.at:]) - len(strings.TrimLeft(p.text[p.at:], " \t\r\n"))
}

func (p *matcherReader) token(t string) bool {
	if p.skip(); strings.HasPrefix(p.text[p.at:], t) {
		p.at += len(t)
		return true
	}
	return false
}

func (p *matcherReader) ended(open bool) bool {
	p.skip()
	return p.at == len(p.text) || open && p.text[p.at] == '}'
}

func (p *matcherReader) one() (Matcher, error) {
	name, err := p.word()
	if err != nil {
		return Matcher{}, err
	}
	if name == "" {
		return Matcher{}, fmt.Errorf("the name of a label is missing here")
	}
	op := Op("")
	for _, o := range []Op{Matches, NotMatches, NotEqual, Equal} { // the longer ones first
		if p.token(string(o)) {
			op = o
			break
		}
	}
	if op == "" {
		return Matcher{}, fmt.Errorf("one of =, !=, =~ and !~ is missing here")
	}
	value, err := p.word()
	if err != nil {
		return Matcher{}, err
	}
	return NewMatcher(name, op, value)
}

// special characters are only in quotes.
func special(r rune) bool { return strings.ContainsRune("{}!=~,\\\"'` \t\r\n", r) }

func (p *matcherReader) word() (string, error) {
	if !p.token(`"`) {
		rest := p.text[p.at:]
		end := strings.IndexFunc(rest, special)
		if end < 0 {
			end = len(rest)
		}
		p.at += end
		return rest[:end], nil
	}
	var b strings.Builder
	for i := p.at; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.at = i + 1
			return b.String(), nil
		case c == '\\' && i+1 < len(p.text) && strings.IndexByte(`\"n`, p.text[i+1]) >= 0:
			i++
			b.WriteByte(map[byte]byte{'n': '\n', '"': '"', '\\': '\\'}[p.text[i]])
		default: // a \ before anything else is itself
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("this quote does not end")
}
