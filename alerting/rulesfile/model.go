package rulesfile

import (
	"fmt"
	"reflect"
	"time"

	"github.com/rossby-streams/rossby/schemas"
)

// Model says what the rules of a file are about: values of type V, a struct such as a sample with the log lines around it.
type Model[V any] struct {
	// Series names what a value is a sample of, such as a metric: rules choose by it. Required.
	Series func(V) string
	// Value is the value of a sample. Required.
	Value func(V) float64
	// Schemas are those of the fields of V by the names that the fields have in JSON, which are the names that expressions use. The schema
	// of a field that is a slice is that of its elements. A field without one has the type that Go gives it.
	Schemas map[string]*schemas.Schema
	// Context makes what an alarm carries of a value, as Rule.Context does. Nil: the whole value.
	Context func(V, Context) any
	// MaxWithin is how far from the first breach there are lines in a value, where ParseRule is to refuse rules that ask for more. Zero: any.
	MaxWithin time.Duration
}

// Context is what a rule says of the context of its alarms.
type Context struct {
	// Within is how far from the first breach lines may be: 1m by default.
	Within time.Duration
	// MaxLines is how many of them are shown: 20 by default.
	MaxLines int
}

func (m *Model[V]) validate() error {
	root := reflect.TypeFor[V]()
	if root.Kind() != reflect.Struct {
		return fmt.Errorf("rulesfile: the values are %v: rules are about structs", root)
	}
	if m.Series == nil || m.Value == nil {
		return fmt.Errorf("rulesfile: the model needs Series and Value")
	}
	for name := range m.Schemas {
		if _, ok := fieldOf(root, name); !ok {
			return fmt.Errorf("rulesfile: there is a schema for %q, but no field of %v with that name in JSON", name, root)
		}
	}
	return nil
}
