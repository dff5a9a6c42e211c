# In shells, what people installed goes first. What the server runs does not come by here.
PATH=$HOME/.local/bin:$HOME/.cargo/bin:$HOME/go/bin:$PATH
