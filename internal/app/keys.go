package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"github.com/drone-entra/drone-entra/internal/config"
	"github.com/drone-entra/drone-entra/internal/drone"
	"github.com/drone-entra/drone-entra/secret"
)

// maxKeyFile bounds what is read of a key's file, in bytes.
const maxKeyFile = 64 << 10

// loadKeys reads the shared keys of all pools. DRONE_SECRET or DRONE_SECRET_FILE, the names that users of Drone's
// extensions know, make the pool "default" unless the file has it. The errors name pool, key and place, never a key.
func loadKeys(pools map[string]config.Pool, getenv func(string) string) (keys []drone.Key, warnings []string, err error) {
	names := make([]string, 0, len(pools)+1)
	for name := range pools {
		names = append(names, name)
	}
	if _, ok := pools[secret.DefaultPool]; !ok {
		pool, ok, err := environmentPool(getenv)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			pools = withPool(pools, pool)
			names = append(names, pool.Name)
		}
	} else if stray := strayKey(pools, getenv); stray != "" {
		warnings = append(warnings, stray+" is set but not used: the configuration has a pool \"default\" of its own")
	}
	slices.Sort(names)
	for _, name := range names {
		for _, k := range pools[name].Keys {
			value, trimmed, err := readKey(k, getenv)
			if err != nil {
				return nil, nil, fmt.Errorf("the key %q of pool %q: %w", k.ID, name, err)
			}
			if trimmed {
				warnings = append(warnings, fmt.Sprintf("the key %q of pool %q ends in a newline, which is left off; runners must not have it either", k.ID, name))
			}
			keys = append(keys, drone.Key{Pool: name, ID: k.ID, Secret: value})
		}
	}
	return keys, warnings, nil
}

// environmentPool is the pool that the environment makes, if any. With both variables set it would be chance which key
// counts, so that is an error.
func environmentPool(getenv func(string) string) (config.Pool, bool, error) {
	value, file := getenv("DRONE_SECRET") != "", getenv("DRONE_SECRET_FILE")
	switch {
	case value && file != "":
		return config.Pool{}, false, errors.New("DRONE_SECRET and DRONE_SECRET_FILE are both set: set one of them, or list the keys under pools")
	case value:
		return defaultPool(config.Key{ID: "DRONE_SECRET", Env: "DRONE_SECRET"}), true, nil
	case file != "":
		return defaultPool(config.Key{ID: "DRONE_SECRET_FILE", File: file}), true, nil
	}
	return config.Pool{}, false, nil
}

func defaultPool(k config.Key) config.Pool {
	return config.Pool{Name: secret.DefaultPool, Keys: []config.Key{k}}
}

// withPool returns a copy with the pool in it: the configuration's own map is compared and summed up later on.
func withPool(pools map[string]config.Pool, pool config.Pool) map[string]config.Pool {
	all := map[string]config.Pool{pool.Name: pool}
	for name, p := range pools {
		all[name] = p
	}
	return all
}

// strayKey returns the name of a set variable that no key refers to.
func strayKey(pools map[string]config.Pool, getenv func(string) string) string {
	for _, name := range []string{"DRONE_SECRET", "DRONE_SECRET_FILE"} {
		if getenv(name) == "" {
			continue
		}
		used := false
		for _, pool := range pools {
			used = used || slices.ContainsFunc(pool.Keys, func(k config.Key) bool { return k.Env == name })
		}
		if !used {
			return name
		}
	}
	return ""
}

// readKey reads one key and leaves off newlines at its end, which editors and `echo` add.
// Whether a runner's copy has the newline can't be known here, so loadKeys warns.
func readKey(k config.Key, getenv func(string) string) (value []byte, trimmed bool, err error) {
	if k.Env != "" {
		value = []byte(getenv(k.Env))
		name := k.Env
		if len(name) >= 32 { // as long as a key
			name = "that env names" // and perhaps the key itself, in the wrong place
		}
		if len(value) == 0 {
			return nil, false, fmt.Errorf("the environment variable %s is not set or empty: set it to the runners' shared key", name)
		}
	} else if value, err = readSmall(k.File, maxKeyFile); err != nil {
		return nil, false, err
	}
	cut := bytes.TrimRight(value, "\r\n")
	return cut, len(cut) < len(value), nil
}

// readSmall reads a regular file of at most limit bytes.
//
// It is asked of the open file what it is, so that it can't be swapped in between. The errors name the file, never
// content.
func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not wait for its writer
	if err != nil {
		return nil, fmt.Errorf("%w: mount the file, or correct the path", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: name the file that holds the key", name)
	}
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s can't be read: %w", name, err)
	case int64(len(content)) > limit:
		return nil, fmt.Errorf("%s is larger than a key's file can be (%d bytes)", name, limit)
	}
	return content, nil
}
