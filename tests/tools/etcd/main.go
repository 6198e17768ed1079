// Command etcd is etcd's server under its own name: a module that ends in /v3 would be built as "v3".
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
