package alerting

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/rossby-streams/rossby/alerting/internal/safetemplate"
)

// What a template may call. Of the rest of text/template's functions, call runs what it is given, and html, js and urlquery let a text
// grow without bounds when they are chained.
var allowedFunctions = []string{"and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt", "ge", "break", "continue"}

// ours are the variables that templates begin with.
var ours = []string{"$labels", "$value", "$context"}

// inAnnotations are the rules of annotations' templates.
var inAnnotations = safetemplate.Rules{Call: mayCall, Range: mayRange, Declare: mayDeclare}

func mayCall(name string) error {
	if !slices.Contains(allowedFunctions, name) {
		return fmt.Errorf("%s is not for annotations: there are and, or, not, len, index, slice, print, printf, println, eq, ne, lt, le, gt and ge", name)
	}
	return nil
}

func mayRange(over *parse.PipeNode, within int) error {
	switch {
	case within > 0:
		return errors.New("a range within a range is not for annotations")
	case !overData(over):
		return errors.New("a range goes over $context, $labels or a part of them such as $context.lines")
	}
	return nil
}

// mayDeclare lets no variable of ours be given another meaning, which overData relies on.
func mayDeclare(p *parse.PipeNode) error {
	for _, v := range p.Decl {
		if slices.Contains(ours, v.Ident[0]) && (p.Line > 1 || int(p.Pos) > len(shorthands)) {
			return fmt.Errorf("%s has a meaning already: choose another name", v.Ident[0])
		}
	}
	return nil
}

// overData says that a range goes over data from JSON: a number, such as a literal or a Duration, would make it spin.
func overData(p *parse.PipeNode) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 {
		return false
	}
	path := []string(nil)
	switch a := p.Cmds[0].Args[0].(type) {
	case *parse.FieldNode:
		path = a.Ident
	case *parse.VariableNode:
		switch {
		case a.Ident[0] == "$labels" || a.Ident[0] == "$context":
			return true
		case a.Ident[0] == "$":
			path = a.Ident[1:]
		}
	}
	return len(path) > 0 && (path[0] == "Context" || path[0] == "Labels")
}

// functions are text/template's that could make a text of any length, within bounds.
func functions() template.FuncMap {
	return template.FuncMap{
		"print": func(args ...any) (string, error) {
			return within(args, func() string { return fmt.Sprint(args...) })
		},
		"println": func(args ...any) (string, error) {
			return within(args, func() string { return fmt.Sprintln(args...) })
		},
		"printf": func(format string, args ...any) (string, error) {
			if wide.MatchString(format) {
				return "", errors.New("printf: a width has at most 3 digits, and there are no * and [")
			}
			return within(append([]any{format}, args...), func() string { return fmt.Sprintf(format, args...) })
		},
	}
}

// wide are formats that make much of little: great widths, and arguments that are used twice.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*|\[)`)

const maxPrintBytes = 8 << 10

// within prints texts and numbers that are not too much in all.
func within(args []any, print func() string) (string, error) {
	size := 0
	for _, a := range args {
		switch a := a.(type) {
		case string:
			size += len(a)
		case State:
			size += len(a)
		case nil, bool, int, int64, float64, time.Time, time.Duration, time.Month, time.Weekday:
			size += 8
		default:
			return "", fmt.Errorf("print takes texts and numbers, not %T", a)
		}
	}
	if size > maxPrintBytes {
		return "", fmt.Errorf("print takes %d bytes in all, not %d", maxPrintBytes, size)
	}
	return print(), nil
}
