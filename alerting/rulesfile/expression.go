package rulesfile

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp/syntax"
	"slices"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/rossby-streams/rossby/alerting/internal/document"
)

// Bounds of an expression: what it costs follows from them and the lengths of lists and texts. Nothing in it repeats but a predicate over
// a list, and predicates are not nested.
const (
	maxExpressionBytes = 4 << 10
	maxNodes           = 200
	maxPredicates      = 8
	maxRegexpProgram   = 300
)

// builtins are the functions that expressions have: none makes a text or a list that is longer than what it is given, none knows the
// time or the machine.
var builtins = []string{
	"all", "none", "any", "one", "count", "sum", "len", "abs", "ceil", "floor", "round", "int", "float", "min", "max", "mean", "median",
	"trim", "upper", "lower", "hasPrefix", "hasSuffix", "indexOf", "first", "last",
}

// expression is a compiled one. It is safe for concurrent use.
type expression[V any] struct {
	program *vm.Program
	pool    sync.Pool // of *machine[V]
}

// machine is what an evaluation needs.
type machine[V any] struct {
	vm  vm.VM
	env V
}

// compile reads the expression of a node: kind is bool or float64.
func (m *Model[V]) compile(n *document.Node, kind reflect.Kind) (*expression[V], error) {
	text, err := n.AsString()
	if err != nil {
		return nil, err
	}
	if len(text) > maxExpressionBytes {
		return nil, n.Errorf("the expression has %d bytes: at most %d are taken", len(text), maxExpressionBytes)
	}
	result := expr.AsBool()
	if kind == reflect.Float64 {
		result = expr.AsFloat64()
	}
	limits := &limiter{}
	options := []expr.Option{result, expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.DisableIfOperator()}
	for _, name := range builtins {
		options = append(options, expr.EnableBuiltin(name))
	}
	// First by the schemas, which decide what there is; then by the Go type, for what runs.
	_, err = attempt(text, append(slices.Clone(options), expr.Env(m.types()), expr.Patch(limits)))
	if limits.err != nil {
		return nil, mistake(n, limits.err.Bind(file.NewSource(text)))
	}
	if err != nil {
		return nil, mistake(n, err)
	}
	program, err := attempt(text, append(options, renaming[V]()...))
	if err != nil {
		return nil, mistake(n, fmt.Errorf("the schema has it, but the program has not: %w", err))
	}
	e := &expression[V]{program: program}
	e.pool.New = func() any { return new(machine[V]) }
	return e, nil
}

// attempt compiles. The library's parser is bounded by the length of the text; if it panics all the same, that is an error.
func attempt(text string, options []expr.Option) (program *vm.Program, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return expr.Compile(text, options...)
}

// mistake places what the library says: at its place in the file if the text stands there as it is.
func mistake(n *document.Node, err error) error {
	where := *n
	var at *file.Error
	if !errors.As(err, &at) {
		return where.Errorf("the expression: %v", err)
	}
	line, column := at.Line, at.Column+1
	if line == 0 {
		return where.Errorf("the expression: %s", at.Message)
	}
	if n.ValueLine > 0 && line == 1 {
		where.Line, where.Column = n.ValueLine, n.ValueColumn+column-1
	}
	return where.Errorf("the expression, line %d, column %d: %s", line, column, at.Message)
}

func (e *expression[V]) run(v V) (result any, err error) {
	m := e.pool.Get().(*machine[V])
	m.env = v
	result, err = m.vm.Run(e.program, &m.env) // panics of the program are errors
	m.env = *new(V)
	e.pool.Put(m)
	if err != nil {
		return nil, &EvaluationError{Err: err}
	}
	return result, nil
}

func (e *expression[V]) test(v V) (bool, error) {
	result, err := e.run(v)
	if err != nil {
		return false, err
	}
	b, ok := result.(bool)
	if !ok {
		return false, &EvaluationError{Err: fmt.Errorf("the result is %T, not true or false", result)}
	}
	return b, nil
}

// number is NaN when there is no result: the rule takes that for an error.
func (e *expression[V]) number(v V) float64 {
	result, err := e.run(v)
	f, ok := result.(float64)
	if err != nil || !ok {
		return math.NaN()
	}
	return f
}

// limiter refuses what the bounds are no bounds for.
type limiter struct {
	predicates int
	err        *file.Error
}

// Visit implements ast.Visitor.
func (l *limiter) Visit(node *ast.Node) {
	reason := ""
	switch n := (*node).(type) {
	case *ast.VariableDeclaratorNode:
		reason = "let is not for rules"
	case *ast.SequenceNode:
		reason = "; is not for rules: write one expression"
	case *ast.CallNode:
		reason = fmt.Sprintf("%s cannot be called: there are all, any, none, one, count, sum, len, min, max, mean, median, abs, ceil, floor, round, int, float, trim, upper, lower, hasPrefix, hasSuffix, indexOf, first and last", n.Callee)
	case *ast.IdentifierNode:
		if n.Value == "$env" {
			reason = "$env is not for rules: name the field"
		}
	case *ast.PredicateNode:
		l.predicates++
		inner := &counter{}
		ast.Walk(&n.Node, inner)
		switch {
		case inner.predicates > 0:
			reason = "a predicate within a predicate is not for rules"
		case l.predicates > maxPredicates:
			reason = fmt.Sprintf("the expression looks through lists more than %d times", maxPredicates)
		}
	case *ast.BinaryNode:
		reason = l.binary(n)
	}
	if reason != "" && l.err == nil {
		l.err = &file.Error{Location: (*node).Location(), Message: reason}
	}
}

func (l *limiter) binary(n *ast.BinaryNode) string {
	switch n.Operator {
	case "..":
		return "a range of numbers is not for rules"
	case "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		if !ok {
			return "the pattern of matches must be a text in quotes"
		}
		return checkPattern(pattern.Value)
	}
	return ""
}

// checkPattern bounds the program that a regular expression becomes, which bounds what one match costs for each byte.
func checkPattern(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fmt.Sprintf("the pattern: %v", err)
	}
	program, err := syntax.Compile(re.Simplify())
	if err != nil {
		return fmt.Sprintf("the pattern: %v", err)
	}
	if len(program.Inst) > maxRegexpProgram {
		return "the pattern is too large: make the counts in {} smaller"
	}
	return ""
}

// counter counts predicates.
type counter struct{ predicates int }

// Visit implements ast.Visitor.
func (c *counter) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		c.predicates++
	}
}
