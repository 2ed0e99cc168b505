module example.com/latchkey-go-example

go 1.24
