package schemas

import "github.com/santhosh-tekuri/jsonschema/v5"

// Shape is what a schema says of the types of a document: enough to check that a name is right before there is a document.
type Shape struct {
	// Type is object, array, string, number, integer or boolean; empty where the schema allows several, or does not say.
	Type string
	// Format is that of a string, such as date-time.
	Format string
	// Fields are those of an object that the schema names.
	Fields map[string]*Shape
	// Item is an element of an array; nil where the schema does not say.
	Item *Shape
}

// shapeDepth is how deep Shape looks: a schema may refer to itself.
const shapeDepth = 8

// Shape returns the shape of the documents of the schema. It looks at type, properties, items and $ref, eight levels deep.
func (s *Schema) Shape() *Shape { return shapeOf(s.compiled, shapeDepth) }

func shapeOf(s *jsonschema.Schema, depth int) *Shape {
	for s != nil && s.Ref != nil && depth > 0 {
		s, depth = s.Ref, depth-1
	}
	shape := &Shape{}
	if s == nil || depth == 0 {
		return shape
	}
	shape.Format = s.Format
	switch {
	case len(s.Types) == 1:
		shape.Type = s.Types[0]
	case len(s.Types) == 0 && allStrings(s.Enum):
		shape.Type = "string"
	}
	if len(s.Properties) > 0 {
		shape.Fields = make(map[string]*Shape, len(s.Properties))
		for name, field := range s.Properties {
			shape.Fields[name] = shapeOf(field, depth-1)
		}
	}
	item := s.Items2020
	if all, ok := s.Items.(*jsonschema.Schema); ok && item == nil {
		item = all
	}
	if item != nil {
		shape.Item = shapeOf(item, depth-1)
	}
	return shape
}

func allStrings(enum []any) bool {
	for _, v := range enum {
		if _, ok := v.(string); !ok {
			return false
		}
	}
	return len(enum) > 0
}
