package schemas

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

//go:embed *.json
var builtin embed.FS

// scheme makes the names of files the absolute URLs that the library wants. It is not served by anybody.
const scheme = "file:///"

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	name     string
	compiled *jsonschema.Schema
}

// Builtin returns one of the schemas that come with Rossby: "metric", "syslog", "alarm" or "rules". The error for another
// name wraps ErrNoBuiltin.
func Builtin(name string) (*Schema, error) {
	file := name + ".json"
	if _, err := fs.Stat(builtin, file); err != nil {
		return nil, fmt.Errorf("%w: %q; there are metric, syslog, alarm and rules", ErrNoBuiltin, name)
	}
	return Load(builtin, file)
}

// Load compiles the schema in a file of fsys. It may refer to other files of fsys by their names. The error is a *SchemaError.
func Load(fsys fs.FS, name string) (*Schema, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	return compile(name, data, fsys)
}

// Parse compiles a schema from its text, which may refer to itself only. name is what errors call it. The error is a
// *SchemaError.
func Parse(name string, data []byte) (*Schema, error) { return compile(name, data, nil) }

func compile(name string, data []byte, fsys fs.FS) (s *Schema, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on schemas that refer to themselves for ever
			s, err = nil, &SchemaError{File: name, Err: fmt.Errorf("%v", p)}
		}
	}()
	if _, err := parseDocument(data); err != nil { // before the library sees it: it has no bounds
		return nil, &SchemaError{File: name, Err: err}
	}
	c := jsonschema.NewCompiler()
	c.Draft = jsonschema.Draft2020
	c.AssertFormat = true
	c.LoadURL = func(url string) (io.ReadCloser, error) { return open(fsys, url) }
	if err := c.AddResource(scheme+name, bytes.NewReader(data)); err != nil {
		return nil, &SchemaError{File: name, Err: err}
	}
	compiled, err := c.Compile(scheme + name)
	if err != nil {
		var schemaErr *jsonschema.SchemaError
		if errors.As(err, &schemaErr) {
			err = schemaErr.Err
		}
		return nil, &SchemaError{File: name, Err: err}
	}
	return &Schema{name: strings.TrimSuffix(path.Base(name), ".json"), compiled: compiled}, nil
}

// open finds what a $ref names in the same folder, and nowhere else.
func open(fsys fs.FS, url string) (io.ReadCloser, error) {
	file, ok := strings.CutPrefix(url, scheme)
	if !ok || fsys == nil {
		return nil, fmt.Errorf("it refers to %s, which is not fetched: put the definition into the file, or into one of the same folder", url)
	}
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, err
	}
	if _, err := parseDocument(data); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Name returns the name of the schema: that of its file, without the ending.
func (s *Schema) Name() string { return s.name }

// Validate checks a document. The error is a *ValidationError that says which fields break which rules, or says why the document
// is not JSON that can be looked at.
func (s *Schema) Validate(data []byte) error {
	v, err := parseDocument(data)
	if err != nil {
		return fmt.Errorf("schemas: not a valid %s: %w", s.name, err)
	}
	return s.validate(v)
}

func (s *Schema) validate(v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("schemas: the schema %s cannot judge this document: %v", s.name, p)
		}
	}()
	err = s.compiled.Validate(v)
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	e := &ValidationError{Schema: s.name, Breaches: breaches(invalid)}
	if n := len(e.Breaches); n > maxBreaches {
		e.Breaches, e.More = e.Breaches[:maxBreaches], n-maxBreaches
	}
	return e
}
