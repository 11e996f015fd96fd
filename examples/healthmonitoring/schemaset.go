package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/schemas"
	"github.com/rossby-streams/rossby/stream"
)

// schemaSet is what validates at the pipeline's edges.
type schemaSet struct {
	metric stream.Codec[health.Metric]
	syslog stream.Codec[health.Syslog]
}

// loadSchemas takes the built-in schemas, or those of the same name in dir where it has them.
func loadSchemas(dir string) (*schemaSet, error) {
	metric, err := loadSchema(dir, "metric")
	if err != nil {
		return nil, err
	}
	syslog, err := loadSchema(dir, "syslog")
	if err != nil {
		return nil, err
	}
	return &schemaSet{metric: schemas.Codec[health.Metric](metric), syslog: schemas.Codec[health.Syslog](syslog)}, nil
}

func loadSchema(dir, name string) (*schemas.Schema, error) {
	if dir == "" {
		return schemas.Builtin(name)
	}
	file := filepath.Join(dir, name+".json")
	if _, err := os.Stat(file); os.IsNotExist(err) {
		if _, err := os.Stat(dir); err != nil {
			return nil, fmt.Errorf("the folder of schemas: %w", err)
		}
		return schemas.Builtin(name)
	}
	return schemas.Load(os.DirFS(dir), name+".json")
}
