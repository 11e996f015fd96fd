package rulesfile

import (
	"reflect"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"

	"github.com/rossby-streams/rossby/schemas"
)

// jsonName is the name that a field has in JSON, and false if it has none there.
func jsonName(f reflect.StructField) (string, bool) {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case !f.IsExported() || name == "-":
		return "", false
	case name == "":
		return f.Name, true
	}
	return name, true
}

// types are what an expression may name: the fields of V, typed by the schemas or, without one, by Go.
func (m *Model[V]) types() types.Map {
	names := make(types.Map)
	root := reflect.TypeFor[V]()
	for i := range root.NumField() {
		f := root.Field(i)
		name, ok := jsonName(f)
		if !ok {
			continue
		}
		schema := m.Schemas[name]
		if schema == nil {
			names[name] = goType(f.Type, 0)
			continue
		}
		kind := typeOf(schema.Shape())
		if f.Type.Kind() == reflect.Slice {
			kind = types.Array(kind)
		}
		names[name] = kind
	}
	return names
}

// typeOf is the type of what a schema describes.
func typeOf(s *schemas.Shape) types.Type {
	switch s.Type {
	case "object":
		if s.Fields == nil {
			return types.Map{types.Extra: types.Any}
		}
		fields := make(types.Map, len(s.Fields))
		for name, field := range s.Fields {
			fields[name] = typeOf(field)
		}
		return fields
	case "array":
		if s.Item == nil {
			return types.Array(types.Any)
		}
		return types.Array(typeOf(s.Item))
	case "string":
		if s.Format == "date-time" {
			return types.TypeOf(time.Time{})
		}
		return types.String
	case "number":
		return types.Float64
	case "integer":
		return types.Int
	case "boolean":
		return types.Bool
	}
	return types.Any
}

// goDepth bounds how deep types are looked into: they may refer to themselves.
const goDepth = 6

// goType is the type of a Go value by its JSON names.
func goType(t reflect.Type, depth int) types.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case depth == goDepth:
		return types.Any
	case t == reflect.TypeFor[time.Time]():
		return types.TypeOf(time.Time{})
	case t.Kind() == reflect.Slice:
		return types.Array(goType(t.Elem(), depth+1))
	case t.Kind() == reflect.Struct:
		fields := make(types.Map)
		for i := range t.NumField() {
			if name, ok := jsonName(t.Field(i)); ok {
				fields[name] = goType(t.Field(i).Type, depth+1)
			}
		}
		return fields
	}
	return types.TypeOf(reflect.Zero(t).Interface())
}

// renaming are the options that make Go names of JSON names, in an expression that has been checked with the names of JSON. The
// library types the tree before each visitor: a predicate knows the elements of its list once the list has its Go name, so each level
// of lists takes one more.
func renaming[V any]() []expr.Option {
	options := []expr.Option{expr.Env(*new(V)), expr.Patch(&identRenamer{reflect.TypeFor[V]()})}
	for range goDepth {
		options = append(options, expr.Patch(memberRenamer{}))
	}
	return options
}

// identRenamer renames the fields of V.
type identRenamer struct{ root reflect.Type }

// Visit implements ast.Visitor.
func (r *identRenamer) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.IdentifierNode); ok {
		if f, ok := fieldOf(r.root, n.Value); ok {
			n.Value = f.Name
		}
	}
}

// memberRenamer renames members of members.
type memberRenamer struct{}

// Visit implements ast.Visitor. Nodes are visited from the leaves to the root, so the type of what a member is of is known.
func (memberRenamer) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.MemberNode)
	if !ok {
		return
	}
	property, ok := n.Property.(*ast.StringNode)
	if !ok {
		return
	}
	if f, ok := fieldOf(n.Node.Type(), property.Value); ok {
		n.Property = &ast.StringNode{Value: f.Name}
		n.SetType(f.Type)
	}
}

// fieldOf is the field of a struct that has that name in JSON.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return reflect.StructField{}, false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if n, ok := jsonName(f); ok && n == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}
