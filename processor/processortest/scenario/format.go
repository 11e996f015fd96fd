package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Case is one operator with the steps that it is taken through.
type Case struct {
	Name     string
	Family   string
	Operator Operator
	// Reason says why the case cannot be run, as far as reading tells; it wraps ErrNotApplicable. nil: it can.
	Reason error

	steps      []step
	finalDrops *int
}

// Operator is the description of an operator. What it says beside its kind is for the binding of that kind: see Decode.
type Operator struct {
	Kind string
	raw  jsontext.Value
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Operator) UnmarshalJSON(data []byte) error {
	var head struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return fmt.Errorf("read an operator: %w", err)
	}
	if head.Kind == "" {
		return malformed("the operator has no kind")
	}
	*o = Operator{Kind: head.Kind, raw: bytes.Clone(data)}
	return nil
}

// Decode reads the operator's fields into spec, a pointer to a struct that names them all, "kind" included. A field that spec
// does not name makes the case not applicable.
func (o Operator) Decode(spec any) error {
	err := json.Unmarshal(o.raw, spec, json.RejectUnknownMembers(true))
	if errors.Is(err, json.ErrUnknownName) {
		return NotApplicable("operator %s: %v", o.Kind, err)
	}
	if err != nil {
		return fmt.Errorf("operator %s: %w", o.Kind, err)
	}
	return nil
}

var joinKind = regexp.MustCompile(`"kind"\s*:\s*"[^"]*-join"`)

// Joins reports whether the operator is a join, or has one in it. Those are run by package join, all others by package processor.
func (o Operator) Joins() bool { return joinKind.Match(o.raw) }

// Source is what an operator reads: a topic, or another operator.
type Source struct {
	Topic    string
	Operator *Operator
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Source) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &s.Topic); err != nil {
			return fmt.Errorf("read a topic: %w", err)
		}
		if s.Topic == "" {
			return malformed("a topic has no name")
		}
		return nil
	}
	s.Operator = &Operator{}
	return s.Operator.UnmarshalJSON(data)
}

// fields are the members of an object that a struct does not name.
type fields = map[string]jsontext.Value

// step is one thing that happens, and what is asserted after it.
type step struct {
	Input            *input        `json:"input"`
	Restart          bool          `json:"restart"`
	Flush            bool          `json:"flush"`
	SetWallClock     *int64        `json:"set_wall_clock_ms"`
	AdvanceWallClock *int64        `json:"advance_wall_clock_ms"`
	Note             string        `json:"note"`
	ExpectError      bool          `json:"expect_error"`
	ExpectTable      *tableWanted  `json:"expect_table"`
	ExpectDrops      *int          `json:"expect_drops"`
	Outputs          outputsWanted `json:",embed"`
	Unknown          fields        `json:",embed"`
}

// input is a record that is sent.
type input struct {
	Topic         string  `json:"topic"`
	Key           Value   `json:"key"`
	Value         Value   `json:"value"`
	TS            *int64  `json:"ts"`
	TSUnspecified bool    `json:"ts_unspecified"`
	TSRandom      bool    `json:"ts_random"`
	Headers       headers `json:"headers"`
	Unknown       fields  `json:",embed"`
}

// outputsWanted is what is asserted of the outputs since the last such assertion. At most one of the four is given.
type outputsWanted struct {
	Expect       wantedList `json:"expect"`
	ExpectSet    wantedList `json:"expect_set"`
	ExpectLatest wantedList `json:"expect_latest"`
	ExpectLast   wantedList `json:"expect_last"`
	Order        string     `json:"order"`
	Prefix       bool       `json:"prefix"`
}

// wanted is an output, or an entry of a table, as far as the file gives its fields.
type wanted struct {
	Key     Value     `json:"key"`
	Value   Value     `json:"value"`
	TS      *int64    `json:"ts"`
	Window  *[2]int64 `json:"window"`
	Headers headers   `json:"headers"`
	Unknown fields    `json:",embed"`
}

// wantedList is a list of outputs that knows whether it was given; one output may stand without its brackets.
type wantedList struct {
	items []wanted
	given bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *wantedList) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	l.given = true
	if len(data) > 0 && data[0] == '{' {
		l.items = make([]wanted, 1)
		return json.Unmarshal(data, &l.items[0])
	}
	if string(data) == "null" {
		return malformed("null where a list of outputs is expected")
	}
	return json.Unmarshal(data, &l.items)
}

// tableWanted is what is asserted of a table.
type tableWanted struct {
	Store   string   `json:"store"`
	Subset  bool     `json:"subset"`
	Entries []wanted `json:"entries"`
	Unknown fields   `json:",embed"`
}

// headers are the headers of a record: an object of texts or of lists of texts.
type headers map[string][]string

// UnmarshalJSON implements json.Unmarshaler.
func (h *headers) UnmarshalJSON(data []byte) error {
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(data, &raw); err != nil {
		return NotApplicable("headers %s: they are an object of texts", brief(data))
	}
	*h = make(headers, len(raw))
	for name, value := range raw {
		var one string
		if json.Unmarshal(value, &one) == nil {
			(*h)[name] = []string{one}
			continue
		}
		var many []string
		if err := json.Unmarshal(value, &many); err != nil {
			return NotApplicable("header %s: %s is neither a text nor a list of texts", name, brief(value))
		}
		(*h)[name] = many
	}
	return nil
}

// given returns the assertion that the step makes of the outputs; ok is false if it makes none.
func (w *outputsWanted) given() (name string, list []wanted, ok bool) {
	for _, l := range w.all() {
		if l.list.given {
			return l.name, l.list.items, true
		}
	}
	return "", nil, false
}

type namedList struct {
	name string
	list *wantedList
}

func (w *outputsWanted) all() []namedList {
	return []namedList{{"expect", &w.Expect}, {"expect_set", &w.ExpectSet}, {"expect_latest", &w.ExpectLatest}, {"expect_last", &w.ExpectLast}}
}

// check finds what makes no sense in a step, and what the runner does not know (an error that wraps ErrNotApplicable).
func (s *step) check() error {
	if err := s.Outputs.check(); err != nil {
		return err
	}
	if in := s.Input; in != nil {
		switch {
		case in.Topic == "":
			return malformed("the input has no topic")
		case !in.Key.Given || !in.Value.Given:
			return malformed("the input must have a key and a value, or null for them")
		case in.TS == nil && !in.TSUnspecified && !in.TSRandom:
			return malformed("the input has no ts")
		}
	}
	actions := 0
	for _, has := range []bool{s.Input != nil, s.Restart, s.Flush, s.SetWallClock != nil, s.AdvanceWallClock != nil} {
		if has {
			actions++
		}
	}
	if actions > 1 {
		return malformed("a step does one thing, and this one does %d", actions)
	}
	return s.unknown()
}

func (w *outputsWanted) check() error {
	given := 0
	for _, l := range w.all() {
		if l.list.given {
			given++
		}
	}
	if given > 1 {
		return malformed("a step asserts its outputs in one way, and this one has %d", given)
	}
	if !slices.Contains([]string{"", "any", "any-all", "latest-per-key"}, w.Order) {
		return NotApplicable("order %q is not known", w.Order)
	}
	if (w.Order != "" || w.Prefix) && !w.Expect.given {
		return malformed("order and prefix say how expect is meant, and there is none")
	}
	if w.ExpectLast.given && len(w.ExpectLast.items) != 1 {
		return malformed("expect_last is one output, not %d", len(w.ExpectLast.items))
	}
	return nil
}

// unknown reports members that no struct names.
func (s *step) unknown() error {
	if err := noUnknown("the step", s.Unknown); err != nil {
		return err
	}
	if s.Input != nil {
		if err := noUnknown("the input", s.Input.Unknown); err != nil {
			return err
		}
	}
	lists := [][]wanted{}
	for _, l := range s.Outputs.all() {
		lists = append(lists, l.list.items)
	}
	if s.ExpectTable != nil {
		if err := noUnknown("expect_table", s.ExpectTable.Unknown); err != nil {
			return err
		}
		lists = append(lists, s.ExpectTable.Entries)
	}
	for _, items := range lists {
		for _, w := range items {
			if err := noUnknown("an expected output", w.Unknown); err != nil {
				return err
			}
		}
	}
	return nil
}

func noUnknown(what string, unknown fields) error {
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		return NotApplicable("%s has the field %q, which is not known", what, name)
	}
	return nil
}
