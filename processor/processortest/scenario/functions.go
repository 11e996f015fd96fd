package scenario

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// aggregationSpec says how values become one: by templates, or by a function of the format.
type aggregationSpec struct {
	Init    *Value `json:"init"`
	Add     string `json:"add"`
	Merge   string `json:"merge"`
	Fn      string `json:"fn"`
	Unknown fields `json:",embed"`
}

// sofar is an aggregate.
type sofar struct {
	Text string `json:"text"`
	Any  bool   `json:"any"` // something has been added
}

// functions are an aggregation as the library takes it.
type functions struct {
	check func(value string) error // says what cannot be added; nil: nothing
	init  func() sofar
	add   func(sofar, string) sofar
	merge func(sofar, sofar) sofar
}

// of makes functions that begin with init.
func of(init string, add, merge func(a, b string) string) *functions {
	return &functions{
		init:  func() sofar { return sofar{Text: init} },
		add:   func(a sofar, v string) sofar { return sofar{add(a.Text, v), true} },
		merge: func(a, b sofar) sofar { return sofar{merge(a.Text, b.Text), true} },
	}
}

func (s *aggregationSpec) functions() (*functions, error) {
	if err := noUnknown("the aggregate", s.Unknown); err != nil {
		return nil, err
	}
	switch s.Fn {
	case "":
		return s.templates()
	case "count":
		return of("0", func(n, _ string) string { return plus(n, "1") }, plus), nil
	case "sum":
		f := of("0", plus, plus)
		f.check = func(value string) error {
			_, err := sum(&value)
			return err
		}
		return f, nil
	case "sorted-concat":
		return of("", sortedConcat, sortedConcat), nil
	case "reduce":
		if err := knows(s.Add, "{agg}", "{value}"); err != nil {
			return nil, err
		}
		add := func(a, b string) string { return fill(s.Add, "{agg}", a, "{value}", b) }
		reduce := of("", add, add)
		reduce.add = func(a sofar, v string) sofar {
			if a.Any {
				v = add(a.Text, v)
			}
			return sofar{v, true}
		}
		return reduce, nil
	}
	return nil, NotApplicable("the aggregate function %q is not known", s.Fn)
}

func (s *aggregationSpec) templates() (*functions, error) {
	if s.Init == nil || s.Init.Null || s.Add == "" {
		return nil, NotApplicable("an aggregate without init or add, or one that begins with null")
	}
	if err := knows(s.Add, "{agg}", "{value}"); err != nil {
		return nil, err
	}
	if err := knows(s.Merge, "{one}", "{two}"); err != nil {
		return nil, err
	}
	f := of(s.Init.Text,
		func(agg, value string) string { return fill(s.Add, "{agg}", agg, "{value}", value) },
		func(one, two string) string { return fill(s.Merge, "{one}", one, "{two}", two) })
	if s.Merge == "" {
		f.merge = nil
	}
	return f, nil
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// knows reports placeholders of a template that cannot be filled.
func knows(template string, known ...string) error {
	for _, p := range placeholder.FindAllString(template, -1) {
		if !slices.Contains(known, p) {
			return NotApplicable("the template %q has %s, and only %s can be filled", template, p, strings.Join(known, " and "))
		}
	}
	return nil
}

// plus adds two integers, which have been checked.
func plus(a, b string) string {
	total, _ := sum(&a, &b)
	return total
}

// sortedConcat gives the letters of both, in order.
func sortedConcat(a, b string) string {
	letters := []rune(a + b)
	slices.Sort(letters)
	return string(letters)
}

// sum adds two integers; a missing one is 0.
func sum(sides ...*string) (string, error) {
	total := int64(0)
	for _, side := range sides {
		if side == nil {
			continue
		}
		n, err := strconv.ParseInt(*side, 10, 64)
		if err != nil {
			return "", err
		}
		total += n
	}
	return strconv.FormatInt(total, 10), nil
}
