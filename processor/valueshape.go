package processor

import (
	"cmp"
	"encoding"
	jsonv1 "encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// valueShape is what the values of a store look like as JSON: not Go's names of types, but the names and kinds of fields. A field that is
// renamed would be read as nothing, without an error.
type valueShape struct {
	Kind   string       `json:"k,omitempty"`  // empty: not known, as of a type that encodes itself
	Fields []fieldShape `json:"f,omitempty"`  // of an object, by name
	Of     *valueShape  `json:"of,omitempty"` // of a list or a map
}

type fieldShape struct {
	Name string     `json:"n"`
	Is   valueShape `json:"is,omitzero"`
}

const (
	isBool   = "true or false"
	isNumber = "number"
	isText   = "text"
	isList   = "list"
	isMap    = "map"
	isObject = "object"
)

// encodesItself are the interfaces by which a type has a say in its JSON.
var encodesItself = []reflect.Type{
	reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[jsonv1.Marshaler](), reflect.TypeFor[encoding.TextMarshaler](),
}

// valuesOf describes a type. above are the types that it is a part of.
func valuesOf(t reflect.Type, above ...reflect.Type) valueShape {
	if slices.Contains(above, t) {
		return valueShape{}
	}
	for _, itself := range encodesItself {
		if t.Implements(itself) || reflect.PointerTo(t).Implements(itself) {
			return valueShape{}
		}
	}
	above = append(slices.Clip(above), t)
	switch t.Kind() {
	case reflect.Pointer:
		return valuesOf(t.Elem(), above...)
	case reflect.Bool:
		return valueShape{Kind: isBool}
	case reflect.String:
		return valueShape{Kind: isText}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return valueShape{Kind: isText} // in base 64
		}
		of := valuesOf(t.Elem(), above...)
		return valueShape{Kind: isList, Of: &of}
	case reflect.Map:
		of := valuesOf(t.Elem(), above...)
		return valueShape{Kind: isMap, Of: &of}
	case reflect.Struct:
		fields := fieldsOf(t, above)
		slices.SortFunc(fields, func(a, b fieldShape) int { return cmp.Compare(a.Name, b.Name) })
		return valueShape{Kind: isObject, Fields: fields}
	}
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64 {
		return valueShape{Kind: isNumber}
	}
	return valueShape{}
}

// fieldsOf lists the fields of a struct as JSON has them.
func fieldsOf(t reflect.Type, above []reflect.Type) (fields []fieldShape) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		of := f.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		embedded := f.Anonymous && name == "" || strings.Contains(options, "inline") || strings.Contains(options, "embed")
		switch {
		case tag == "-":
		case embedded && of.Kind() == reflect.Struct:
			fields = append(fields, fieldsOf(of, append(slices.Clip(above), of))...)
		case embedded || !f.IsExported():
		case options == "" || options == "omitempty" || options == "omitzero":
			fields = append(fields, fieldShape{cmp.Or(name, f.Name), valuesOf(f.Type, above...)})
		default: // an option may change the kind
			fields = append(fields, fieldShape{Name: cmp.Or(name, f.Name)})
		}
	}
	return fields
}

// valueConflict is a place in a value at which what was stored would not be read any more.
type valueConflict struct{ was, is, plan string }

// against lists what values of shape now would not read of values of shape v. at is the place in the value.
func (v valueShape) against(now valueShape, at string) (all []valueConflict) {
	switch {
	case v.Kind == "" || now.Kind == "":
		return nil
	case v.Kind == isObject && now.Kind == isObject:
		return v.fieldsAgainst(now, at)
	case v.Kind == now.Kind && v.Of != nil && now.Of != nil:
		return v.Of.against(*now.Of, at+"[]")
	case v.Kind == now.Kind, v.Kind == isObject && now.Kind == isMap, v.Kind == isMap && now.Kind == isObject:
		return nil
	}
	return []valueConflict{{"the values" + at + " were " + v.Kind, "they are " + now.Kind, "keep the kind, or give the new store another name and keep the old one unused"}}
}

func (v valueShape) fieldsAgainst(now valueShape, at string) (all []valueConflict) {
	for _, old := range v.Fields {
		if next, ok := now.field(old.Name); ok {
			all = append(all, old.Is.against(next, at+"."+old.Name)...)
			continue
		}
		for _, next := range now.Fields {
			if _, had := v.field(next.Name); !had && old.Is.Kind == next.Is.Kind {
				all = append(all, valueConflict{
					"the values had a field " + (at + "." + old.Name)[1:] + " of kind " + or(old.Is.Kind, "unknown"), "they have " + (at + "." + next.Name)[1:] + " instead, so that what was stored would be read as nothing",
					fmt.Sprintf("name the field by a tag, json:%q; or have both fields first, and leave the old one out in the version after", old.Name),
				})
				break
			}
		}
	}
	return all
}

func (v valueShape) field(name string) (valueShape, bool) {
	for _, f := range v.Fields {
		if f.Name == name {
			return f.Is, true
		}
	}
	return valueShape{}, false
}
